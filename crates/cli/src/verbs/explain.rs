//! The manual page of an error, or the list of them.

use crate::{exit::Exit, failure::Failure, manual::Code, ui};

pub(crate) fn run(code: Option<&str>) -> Result<Exit, Failure> {
    let Some(name) = code else {
        let rows = Code::ALL.iter().map(|c| {
            let title = c.title().split_once(": ").map_or("", |(_, t)| t);
            vec![c.name().to_owned(), c.exit().code().to_string(), title.to_owned()]
        });
        ui::data(&ui::table(&["code", "exit", "what it means"], rows.collect()))?;
        return Ok(Exit::Pass);
    };
    match Code::find(name) {
        Some(code) => {
            ui::data(code.page())?;
            Ok(Exit::Pass)
        }
        None => {
            ui::say(&format!("error: there is no code `{name}`"));
            ui::say("  help: `plimsoll explain` lists them");
            Ok(Exit::Usage)
        }
    }
}

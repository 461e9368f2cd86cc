//! What an error comes from, in one line.

use std::error::Error;

/// What a server wrote may be long, and is cut.
const LONGEST: usize = 300;

/// The innermost cause of an error, which says most.
pub(crate) fn deepest(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    let text = cause.to_string();
    // Of the document that a store sends with its status, what is for people.
    let part = |tag: &str| {
        let (_, rest) = text.split_once(&format!("<{tag}>"))?;
        rest.split_once(&format!("</{tag}>")).map(|(part, _)| part)
    };
    match (part("Code"), part("Message")) {
        (Some(code), Some(message)) => {
            let status = text.split(": <").next().unwrap_or_default();
            plain(&format!("{status}: {code}: {message}"))
        }
        _ => plain(&text),
    }
}

/// A text that somebody else wrote, as one line that ends.
pub(crate) fn plain(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).take(LONGEST).collect::<String>().trim().to_owned()
}

//! Passphrases and PINs: from the environment, else asked for where there is a terminal. Never an argument, which others can list.

use std::{env, io::IsTerminal};

use plimsoll_trust::{Asked, KeySource, Secret, Secrets, open_key};

use crate::failure::Failure;

/// The environment and the terminal of this process.
pub(crate) struct Here;

impl Secrets for Here {
    fn ask(&self, asked: &Asked) -> Option<Secret> {
        let variable = match asked {
            Asked::Passphrase(_) => "PLIMSOLL_PASSPHRASE",
            Asked::Pin(_) => "PLIMSOLL_PIN",
        };
        for variable in [own(variable, &asked.name()), variable.to_owned()] {
            if let Some(value) = env::var_os(variable) {
                return value.into_string().ok().map(Secret::new);
            }
        }
        if !std::io::stderr().is_terminal() {
            return None;
        }
        rpassword::prompt_password(format!("{asked}: ")).ok().map(Secret::new)
    }
}

/// The variable of one key, where several are needed at once.
fn own(variable: &str, name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("{variable}_{}", name.chars().map(plain).collect::<String>())
}

/// The key that somebody names: a file, or a `pkcs11:` URI.
pub(crate) fn key(name: &str) -> Result<Box<dyn KeySource>, Failure> {
    Ok(open_key(name, &Here)?)
}

#[cfg(test)]
mod tests {
    use super::own;

    #[test]
    fn each_key_has_a_variable_of_its_own() {
        assert_eq!(own("PLIMSOLL_PASSPHRASE", "engineer-1"), "PLIMSOLL_PASSPHRASE_ENGINEER_1");
    }
}

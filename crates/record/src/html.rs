//! Text that cannot leave its place in an HTML page.
//!
//! Names in models and files are somebody else's: they may hold tags, quotes, marks that turn the direction of writing, or ten
//! thousand characters. Every page of ours puts whatever comes from outside through [`esc`].

/// Characters of a text from outside that are shown, at most; the JSON documents hold all of them.
pub const LONGEST: usize = 240;
/// Of a longer one, so many of its end.
const TAIL: usize = 60;

/// Text for the content of an element or a quoted attribute.
pub fn esc(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in shortened(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(' '),
            // Marks that change what the text around them looks like are shown, not obeyed.
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
                safe.push_str(&format!("‹U+{:04X}›", c as u32));
            }
            c if c.is_control() || matches!(c as u32 & 0xffff, 0xfffe | 0xffff) => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// The beginning and the end of a text that is too long.
fn shortened(text: &str) -> String {
    let n = text.chars().count();
    if n <= LONGEST {
        return text.to_owned();
    }
    let head: String = text.chars().take(LONGEST - TAIL).collect();
    let tail: String = text.chars().skip(n - TAIL).collect();
    format!("{head} … {tail} ({n} characters)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_direction_and_tags_are_shown_as_text() {
        assert_eq!(esc("a<b>\"'&"), "a&lt;b&gt;&quot;&#39;&amp;");
        assert_eq!(esc("x\u{202e}txt.exe"), "x‹U+202E›txt.exe");
        assert_eq!(esc("a\u{1b}[2J\u{0}\u{ffff}\nb"), "a\u{fffd}[2J\u{fffd}\u{fffd} b");
    }

    #[test]
    fn a_name_of_ten_thousand_characters_is_cut_and_says_so() {
        let long = esc(&"ä<".repeat(5_000));
        assert!(long.ends_with("(10000 characters)") && long.chars().count() < 1_000, "{long}");
        assert_eq!(esc(&"x".repeat(LONGEST)).len(), LONGEST);
    }
}

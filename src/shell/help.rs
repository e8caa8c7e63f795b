//! What `help` prints, made of the table in [`super::table`] alone.
//!
//! ```text
//! help          one line a command, by group, in 80 columns
//! help TOPIC    signature, what it does, reply, aliases, options, examples, exit codes
//! ```
//!
//! On a narrower terminal, what a name means stands below it, and everything but examples is wrapped between words.

use super::diagnostic::Diagnostic;
use super::exit;
use super::parse;
use super::table::{self, Group, Spec};

/// Widest line, in columns.
const WIDTH: usize = 80;

/// Columns for the names of commands, and of options.
const ENTRY_NAME: usize = 28;
const OPTION_NAME: usize = 18;

/// Narrower than that nothing is laid out for.
const LEAST_WIDTH: usize = 36;

/// The overview, or the page on one command: its name or an alias, a meta-command's dot left out or not.
///
/// ```
/// use kvdb::shell::help::help;
/// assert!(help(None).unwrap().contains("set KEY VALUE"));
/// assert!(help(Some("del")).unwrap().starts_with("delete [KEY...]"));
/// assert!(help(Some("gte")).unwrap_err().help.unwrap().contains("get"));
/// ```
///
/// # Errors
/// There is no such command; the span covers `topic`.
pub fn help(topic: Option<&str>) -> Result<String, Diagnostic> {
    help_within(topic, WIDTH)
}

/// The same for a terminal of so many columns.
pub(super) fn help_within(topic: Option<&str>, columns: usize) -> Result<String, Diagnostic> {
    let width = columns.clamp(LEAST_WIDTH, WIDTH);
    match topic {
        None => Ok(overview(width)),
        Some(name) => parse::topic(name.as_bytes(), 0..name.len()).map(|spec| page(spec, width)),
    }
}

fn overview(width: usize) -> String {
    let is_below = !fits(table::specs().map(entry), ENTRY_NAME, width);
    let section = |group: Group| {
        let entries = table::specs().filter(|spec| spec.group == group).map(entry);
        format!("{}:\n{}", group.title(), list(entries, ENTRY_NAME, is_below, width))
    };
    let notes = [
        "A value with blanks or quotes is quoted: \"two words\" 'raw' x\"00ff\" b64\"AP8=\"",
        "help COMMAND explains one command and its options; Ctrl-D leaves the shell.",
    ];
    format!("{}\n{}", Group::ALL.map(section).concat(), notes.map(|note| wrapped(note, width)).concat())
}

fn entry(spec: &Spec) -> (String, &'static str) {
    let has_options = spec.options.iter().any(|option| !option.replaces_last_arg);
    (spec.short_signature() + if has_options { " [OPTIONS]" } else { "" }, spec.summary)
}

/// Whether names of so many columns leave room for what each of them means.
fn fits<'a>(mut entries: impl Iterator<Item = (String, &'a str)>, name_columns: usize, width: usize) -> bool {
    entries.all(|(_, text)| 2 + name_columns + 1 + text.chars().count() <= width)
}

/// Names, and what each means beside or below it.
fn list<'a>(
    entries: impl Iterator<Item = (String, &'a str)>,
    name_columns: usize,
    is_below: bool,
    width: usize,
) -> String {
    let beside = |(name, text): (String, &str)| format!("  {name:<name_columns$} {text}\n");
    let below = |(name, text): (String, &str)| format!("  {name}\n{}", indented(text, 6, width));
    if is_below { entries.map(below).collect() } else { entries.map(beside).collect() }
}

fn page(spec: &Spec, width: usize) -> String {
    let details: String = spec.details.lines().map(|line| wrapped(line, width)).collect();
    let aliases = match spec.aliases {
        [] => String::new(),
        aliases => format!("Also: {}\n", aliases.join(", ")),
    };
    let reply = wrapped(&format!("Reply: {}", spec.reply), width);
    [
        format!("{}\n{details}\n{reply}{aliases}", signature(spec, width)),
        options(spec, width),
        examples(spec),
        exits(spec, width),
    ]
    .concat()
}

/// The signature, its options on lines of their own where it is wide.
fn signature(spec: &Spec, width: usize) -> String {
    let whole = spec.signature();
    if whole.len() <= width {
        return whole + "\n";
    }
    let (short, options) = whole.split_at(spec.short_signature().len());
    let options = options.split_inclusive(']').map(str::trim_start);
    let mut text = short.to_owned();
    let mut column = width;
    // A choice among options that is too wide for a line of its own is divided between them.
    let parts = options
        .flat_map(|option| if 4 + option.len() > width { option.split(' ').collect() } else { vec![option] });
    for part in parts {
        if column + 1 + part.len() > width {
            text += "\n   ";
            column = 3;
        }
        text.extend([" ", part]);
        column += 1 + part.len();
    }
    text + "\n"
}

fn options(spec: &Spec, width: usize) -> String {
    let entries = spec.options.iter().map(|option| (option.signature(), option.summary));
    let is_below = !fits(entries.clone(), OPTION_NAME, width);
    titled("Options", std::iter::once(list(entries, OPTION_NAME, is_below, width)))
}

fn examples(spec: &Spec) -> String {
    let line = |example: &table::Example| {
        std::iter::once(format!("  kvdb> {}\n", example.line))
            .chain(example.output.lines().map(|output| format!("  {output}\n")))
    };
    titled("Examples", spec.examples.iter().flat_map(line))
}

/// What the codes mean here; the general ones in short.
fn exits(spec: &Spec, width: usize) -> String {
    let is_general = |code: u8| (1..128).contains(&code) && spec.exits.iter().all(|(own, _)| *own != code);
    let own = spec.exits.iter().map(|(code, meaning)| {
        let lines = indented(meaning, 5, width);
        format!("  {code}  {}", lines.trim_start())
    });
    let general = exit::MEANINGS.iter().filter(|(code, _)| *code == 0 || is_general(*code) && *code > 1);
    let short: Vec<_> = general.map(|(code, meaning)| format!("{code} {}", before_colon(meaning))).collect();
    titled("Exit codes", own.chain([indented(&short.join("; "), 2, width)]))
}

/// The beginning of a meaning that says enough.
fn before_colon(meaning: &str) -> &str {
    meaning.split([';', ':', ',']).next().unwrap_or(meaning)
}

/// Lines below a title; nothing when there are none.
fn titled(title: &str, lines: impl Iterator<Item = String>) -> String {
    let body: String = lines.collect();
    if body.is_empty() { body } else { format!("\n{title}:\n{body}") }
}

/// A paragraph in lines that are set in by so many columns.
fn indented(paragraph: &str, indent: usize, width: usize) -> String {
    let lines = wrapped(paragraph, width - indent);
    let blanks = " ".repeat(indent);
    lines.lines().flat_map(|line| [&blanks, line, "\n"]).collect()
}

/// A paragraph in lines of at most `width` columns, for text of one column a character.
pub(super) fn wrapped(paragraph: &str, width: usize) -> String {
    let mut text = String::new();
    let mut column = 0;
    for word in paragraph.split(' ') {
        let len = word.chars().count();
        if column > 0 && column + 1 + len > width {
            text.push('\n');
            column = 0;
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        text += word;
        column += len;
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn too_wide(text: &str) -> Option<&str> {
        text.lines().find(|line| line.chars().count() > WIDTH)
    }

    #[test]
    fn the_overview_fits_the_width_and_names_every_command_once() {
        let text = help(None).unwrap();
        assert!(text.lines().count() <= 60, "{text}");
        assert_eq!(too_wide(&text), None);
        for spec in table::specs() {
            let entry = format!("\n  {} ", spec.name);
            assert_eq!(text.matches(&entry).count(), 1, "{}", spec.name);
        }
        assert!(text.contains("\n  get KEY... [OPTIONS]         print the value of each KEY\n"), "{text}");
        assert!(text.contains("\n  count [PREFIX] [OPTIONS]     count keys\n"), "{text}");
    }

    #[test]
    fn every_name_has_a_page_that_fits() {
        for name in table::one_shot_names() {
            let text = help(Some(name)).unwrap();
            assert_eq!(too_wide(&text), None, "{name}");
            assert!(text.ends_with('\n') && !text.contains("\n\n\n"), "{text}");
        }
    }

    #[test]
    fn nothing_but_examples_is_wider_than_a_narrow_terminal() {
        for columns in [36, 40, 60, 79] {
            let overview = help_within(None, columns).unwrap();
            assert!(overview.lines().all(|line| line.chars().count() <= columns), "{overview}");
            assert_eq!(overview.contains("\n  count [PREFIX] [OPTIONS]\n      count keys\n"), columns < 79);
            for spec in table::specs() {
                let page = page(spec, columns).replace(&examples(spec), "");
                let wide = page.lines().find(|line| line.chars().count() > columns);
                assert!(wide.is_none_or(|line| !line.trim().contains(' ')), "{columns}\n{page}");
            }
        }
        assert_eq!(help_within(Some("get"), 200).unwrap(), help(Some("get")).unwrap());
    }

    #[test]
    fn a_page_holds_every_part() {
        assert_eq!(
            help(Some("GET")).unwrap(),
            "\
get KEY... [--default VALUE]

Prints the value of each KEY as a literal that reads back to the same bytes, or
null, without quotes, where there is none. With --default there is always one.

Reply: one literal or null for each KEY

Options:
  --default VALUE    what stands for a KEY that is not there

Examples:
  kvdb> set name \"Jaya Krishna\"
  OK
  kvdb> get name
  \"Jaya Krishna\"
  kvdb> get nobody
  null

Exit codes:
  1  one-shot: a key is missing; it is still printed as null or false
  0 done; 2 usage or syntax; 3 the database can't be opened; 4 corruption; 5
  input or output
"
        );
        let delete = help(Some("rm")).unwrap();
        assert!(delete.contains("\nAlso: del, rm\n"), "{delete}");
        let scan = help(Some("scan")).unwrap();
        assert!(
            scan.contains("\nOptions:\n  --from KEY         only keys from KEY on, KEY included\n"),
            "{scan}"
        );
    }

    #[test]
    fn an_unknown_topic_is_refused_with_a_suggestion() {
        let error = help(Some("scam")).unwrap_err();
        assert_eq!((error.message.as_str(), error.span), (r#"no help on "scam""#, 0..4));
        assert_eq!(error.help.as_deref(), Some(r#"did you mean "scan"?"#));
    }
}

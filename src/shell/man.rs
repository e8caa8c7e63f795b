//! `kvdb man`: the manual page in the language of man(7), made of the table of commands, the flags and the settings.

#![expect(clippy::format_push_string, reason = "made once, and read best as the text that it will be")]

use std::fmt::Write as _;

use super::exit;
use super::table::{self, Group, Spec};
use crate::config::{FLAGS, variables};

const DESCRIPTION: &str = "\
kvdb keeps keys and values, byte strings of any kind, in a directory. It runs one command, a script of commands from standard \
input, or, on a terminal and without a command, a prompt. A reply is printed after what it acknowledges is on the device; a \
command, or a transaction, is applied whole or not at all; any number of processes may use the same directory.";

/// The page.
pub(super) fn page() -> String {
    let mut page = format!(".TH KVDB 1 \"\" \"kvdb {}\"\n", env!("CARGO_PKG_VERSION"));
    page += ".SH NAME\nkvdb \\- key-value database: commands, scripts, and a prompt\n";
    page += ".SH SYNOPSIS\n\\fBkvdb\\fR [\\fIOPTIONS\\fR] [\\fICOMMAND\\fR [\\fIARGUMENTS\\fR]]\n.br\n\
             \\fBkvdb\\fR [\\fIOPTIONS\\fR] [\\fB\\-c\\fR \\fILINE\\fR]... | [\\fB\\-\\fR] < \\fISCRIPT\\fR\n";
    page += &format!(".SH DESCRIPTION\n{}\n", text(DESCRIPTION));
    page += ".SH EXAMPLES\n.nf\nkvdb set name \"Jaya Krishna\"\nkvdb get name\nkvdb < commands.kv\n.fi\n";
    page += ".SH OPTIONS\nOptions of kvdb stand before the command.\n";
    for flag in &FLAGS {
        let short = flag.short.map(|short| format!("-{short}, ")).unwrap_or_default();
        item(&mut page, &(short + &flag.signature()), flag.summary);
    }
    item(&mut page, "-c LINE", "Run a line of the command language; may be repeated");
    item(&mut page, "--no-config", "Leave configuration files out");
    item(&mut page, "-h, --help", "Say how kvdb is called");
    item(&mut page, "-V, --version", "Say which version this is");
    page += ".SH COMMANDS\nA meta-command, whose name begins with a dot, may be written without it behind kvdb: kvdb stats.\n";
    for group in Group::ALL {
        writeln!(page, ".SS {}", text(group.title())).unwrap_or_default();
        table::specs().filter(|spec| spec.group == group).for_each(|spec| command(&mut page, spec));
    }
    page += ".SH EXIT STATUS\n";
    for (code, meaning) in exit::MEANINGS {
        item(&mut page, &code.to_string(), meaning);
    }
    page += ".SH ENVIRONMENT\n";
    for (variable, summary) in variables() {
        item(&mut page, variable, summary);
    }
    item(&mut page, "NO_COLOR", "when it is set, output is not coloured");
    item(
        &mut page,
        "CLICOLOR_FORCE",
        "when it is set and not 0, output is coloured also where it is no terminal",
    );
    item(&mut page, "CLICOLOR", "when it is 0, output is not coloured");
    page + ".SH FILES\n.TP\n.I .kvdb\nthe database, unless another is named\n\
            .TP\n.I config.toml\nin the configuration directory of the platform, and in a database: settings; see .config\n\
            .TP\n.I history\nin the state directory of the platform: what was typed at the prompt\n"
}

fn command(page: &mut String, spec: &Spec) {
    item(page, &spec.signature(), spec.details);
    for option in spec.options {
        *page += ".RS\n";
        item(page, &option.signature(), option.summary);
        *page += ".RE\n";
    }
    if !spec.aliases.is_empty() {
        *page += &format!(".IP\nAlso: {}\n", text(&spec.aliases.join(", ")));
    }
    for (code, meaning) in spec.exits {
        *page += &format!(".IP\nExit code {code}: {}\n", text(meaning));
    }
}

/// A tagged paragraph.
fn item(page: &mut String, tag: &str, body: &str) {
    let body: Vec<_> = body.lines().map(text).collect();
    *page += &format!(".TP\n\\fB{}\\fR\n{}\n", text(tag), body.join("\n.IP\n"));
}

/// Text that is nothing but text to roff.
fn text(plain: &str) -> String {
    let escaped = plain
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq")
        .replace('"', "\\(dq")
        .replace('^', "\\(ha")
        .replace('~', "\\(ti");
    if escaped.starts_with('.') { format!("\\&{escaped}") } else { escaped }
}

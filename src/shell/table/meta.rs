//! The meta-commands and the verbs of the shell itself: the database as a whole, settings, help, leaving.

use super::{Arg, Arity, Example, FORMATS, Group, Kind, OUTPUT_MODES, Opt, Spec, Verb};

const FILE: Arg = Arg { name: "FILE", arity: Arity::One, kind: Kind::File };

const fn choice(name: &'static str, words: &'static [&'static str]) -> Arg {
    Arg { name, arity: Arity::Optional, kind: Kind::Choice(words) }
}

const fn flag(name: &'static str, summary: &'static str) -> Opt {
    Opt { name, value: None, summary, excludes_previous: false, replaces_last_arg: false }
}

const fn option(name: &'static str, value: &'static str, kind: Kind, summary: &'static str) -> Opt {
    Opt { value: Some((value, kind)), ..flag(name, summary) }
}

const FORMAT: Opt = option(
    "--format",
    "FORMAT",
    Kind::Choice(FORMATS),
    "csv, tsv or jsonl, where the name of FILE does not tell",
);

/// What most entries here have in common: no aliases, arguments or options.
const PLAIN: Spec = Spec {
    verb: Verb::Show,
    name: "",
    aliases: &[],
    group: Group::Shell,
    args: &[],
    options: &[],
    summary: "",
    details: "",
    reply: "",
    examples: &[],
    exits: &[],
};

pub(super) const SPECS: &[Spec] = &[
    Spec {
        verb: Verb::Undo,
        name: ".undo",
        group: Group::Database,
        args: &[Arg { name: "N", arity: Arity::Optional, kind: Kind::Count }],
        summary: "take back the last N changes typed here, or one",
        details: "Takes back what the last N commands that changed something did, or the last: the keys hold what they held \
                  before, for as long. Nothing is taken back if another session changed one of the keys since. The next .undo \
                  goes further back; there is no way forward again.\n\
                  It concerns what was typed at this prompt, a whole transaction as one; inside of a transaction, what was \
                  typed in it. The last 1,000 changes can be taken back, if what they replaced has no more than 16 MiB; \
                  .load, .import, .read and the removal of more than 10,000 keys can't be, nor what came before them.",
        reply: "the commands that it comes to, at most 10",
        examples: &[Example { line: ".undo", output: "" }, Example { line: ".undo 3", output: "" }],
        exits: &[(2, "there is not so much to take back, or another session changed a key")],
        ..PLAIN
    },
    Spec {
        verb: Verb::Stats,
        name: ".stats",
        group: Group::Database,
        summary: "show figures about the database",
        details: "Shows how many keys the database holds, how much room they and the files take, what was written in its life, \
                  and what this process has done so far. grammar.md explains each figure. On a terminal it is a page with a picture of the \
                  levels, elsewhere lines for scripts.",
        reply: "a name and a figure a line; on a terminal a page",
        examples: &[Example { line: ".stats", output: "" }],
        ..PLAIN
    },
    Spec {
        verb: Verb::Levels,
        name: ".levels",
        group: Group::Database,
        summary: "show the levels and which keys each holds",
        details: "Shows what is in memory and each sorted run of tables below it, newest first, which is the order in which a read \
                  looks at them: tables, records, bytes, and the first and the last key. On a terminal it is a picture with \
                  bars. The engine simple has no levels.",
        reply: "a level a line, named as in grammar.md; on a terminal a page",
        examples: &[Example { line: ".levels", output: "" }],
        ..PLAIN
    },
    Spec {
        verb: Verb::Prefixes,
        name: ".prefixes",
        group: Group::Database,
        args: &[Arg { name: "PREFIX", arity: Arity::Optional, kind: Kind::Bound }],
        options: &[
            option("--depth", "N", Kind::Count, "up to the Nth separator behind PREFIX, not the first"),
            option("--separator", "S", Kind::Bound, "what divides keys, instead of : and / and ."),
            option("--limit", "N", Kind::Count, "the N largest, not 50; the others are summed"),
        ],
        summary: "count keys and bytes by prefix",
        details: "Counts the keys, and the bytes of them and their values, by what the keys begin with up to a separator, in byte \
                  order. Values are not read. On a terminal it is a picture with bars.",
        reply: "a prefix, its keys and its bytes a line; null for keys without one",
        examples: &[
            Example { line: "set user:1 Ann", output: "OK" },
            Example { line: "set user:2 Bob", output: "OK" },
            Example { line: ".prefixes", output: "\"user:\" 2 18" },
        ],
        ..PLAIN
    },
    Spec {
        verb: Verb::Compact,
        name: ".compact",
        group: Group::Database,
        summary: "rewrite the files without what is outdated",
        details: "Rewrites the files so that they hold live data only, packed as the setting `compression` says. Other \
                  processes go on reading and writing meanwhile; when it is interrupted nothing is lost, and the room that it \
                  gave back by then stays free. On a terminal a line shows how far it is, and Ctrl-C stops it.",
        reply: "the size before and after; on a terminal what was saved",
        examples: &[Example { line: ".compact", output: "" }],
        ..PLAIN
    },
    Spec {
        verb: Verb::Check,
        name: ".check",
        group: Group::Database,
        summary: "verify every byte of the database",
        details: "Reads every record, page and cross-reference of the database, also of one that is too damaged to be opened, \
                  and tells everything that is wrong: which file, where in it, and which keys or batches it concerns. Nothing \
                  is changed, and other processes go on meanwhile. On a terminal a line shows how far it is, and Ctrl-C stops \
                  it: the faults found until then are told.",
        reply: "the number of faults, each fault, and what was read",
        examples: &[Example { line: ".check", output: "" }],
        exits: &[(4, "there are faults")],
        ..PLAIN
    },
    Spec {
        verb: Verb::Repair,
        name: ".repair",
        group: Group::Database,
        args: &[Arg { name: "NEW_DIR", arity: Arity::Optional, kind: Kind::File }],
        summary: "write what can be read to a new database",
        details: "Writes everything that can be read of a damaged database to a new one in NEW_DIR, which must not exist; without \
                  NEW_DIR, beside it under its name with .repaired behind. The damaged one is only read and stays as it is.\n\
                  What was lost is listed: which file, where in it, and which keys or batches it concerns. Where older values, or \
                  deleted keys, may have come back in its place, the list says so. A single flipped bit of a file is set right, \
                  and costs nothing, but for one in a record of the log of more than 11 KiB.",
        reply: "the new directory, its keys, and everything that was lost",
        examples: &[Example { line: ".repair", output: "" }, Example { line: ".repair saved", output: "" }],
        exits: &[(4, "the new database was written, but something was lost")],
        ..PLAIN
    },
    Spec {
        verb: Verb::Backup,
        name: ".backup",
        group: Group::Database,
        args: &[Arg { name: "DIR", arity: Arity::One, kind: Kind::File }],
        summary: "make or renew a copy of the database in DIR",
        details: "Makes DIR a database of its own that holds what this one holds at one moment, while others go on reading and \
                  writing. DIR may be new, empty, or an older backup of this database: then only what is missing is brought, \
                  and if that breaks off anywhere, the old backup or the new one is there.\n\
                  Tables are linked where DIR is on the same file system: they take no room, and a damaged disk damages both. \
                  Elsewhere they are copied. What was copied is read back and verified before the reply. On a terminal a line \
                  shows how far it is, and Ctrl-C stops it.\n\
                  To use a backup, open it: kvdb --db DIR. One that was written to is a database like any other and is not \
                  renewed any more.",
        reply: "what was kept, linked, copied and verified; on a terminal a line",
        examples: &[Example { line: ".backup backup.kvdb", output: "" }],
        exits: &[(3, "DIR is something else than an untouched backup of this database")],
        ..PLAIN
    },
    Spec {
        verb: Verb::Dump,
        name: ".dump",
        group: Group::Database,
        args: &[Arg { arity: Arity::Optional, ..FILE }],
        summary: "write all records as a script",
        details: "Writes all records to FILE, or to standard output, as a script with a header, and a trailer that holds \
                  count and checksum. Any kvdb can load it; every byte string comes back exactly. - stands for where results go.",
        reply: "the dump; with FILE the number of records",
        examples: &[Example { line: ".dump", output: "" }, Example { line: ".dump backup.kv", output: "" }],
        ..PLAIN
    },
    Spec {
        verb: Verb::Load,
        name: ".load",
        group: Group::Database,
        args: &[FILE],
        summary: "apply a dump, all of it or nothing",
        details: "Applies the dump in FILE as one unit. A dump that was cut or altered is refused and nothing is changed.\n\
                  For a one-shot - stands for standard input.",
        reply: "the number of records",
        examples: &[Example { line: ".load backup.kv", output: "" }],
        exits: &[(4, "the dump was cut or altered")],
        ..PLAIN
    },
    Spec {
        verb: Verb::Import,
        name: ".import",
        group: Group::Database,
        args: &[FILE],
        options: &[
            FORMAT,
            option("--key", "COLUMN", Kind::Value, "where the key is: a name, or a number from 1"),
            option("--value", "COLUMN", Kind::Value, "where the value is"),
            option("--prefix", "P", Kind::Bound, "puts P before every key"),
            flag("--no-header", "the first line is a record, not names of columns"),
            flag("--dry-run", "reads and checks everything, and changes nothing"),
        ],
        summary: "store records from CSV, TSV or JSON lines",
        details: "Stores the records in FILE as one unit; grammar.md explains the formats. A line that can't be understood is named, and nothing \
                  is changed. Of two records with one key the later wins.\n\
                  The key is in the column or field key and the value in value, or else in the first two columns.\n\
                  For a one-shot - stands for standard input.",
        reply: "the number of records; with --dry-run how many there would be",
        examples: &[
            Example { line: ".import people.csv --key id --value name --prefix people:", output: "" },
            Example { line: ".import people.csv --dry-run", output: "" },
        ],
        exits: &[(2, "a line of FILE can't be understood")],
        ..PLAIN
    },
    Spec {
        verb: Verb::Export,
        name: ".export",
        group: Group::Database,
        args: &[FILE],
        options: &[
            FORMAT,
            option("--prefix", "P", Kind::Bound, "only keys that begin with P"),
            flag("--strip", "leaves P out of the keys"),
        ],
        summary: "write records as CSV, TSV or JSON lines",
        details: "Writes all records, or those whose keys begin with P, to FILE for other programs; grammar.md explains the formats. Every \
                  byte string comes back exactly with .import. - stands for where results go.",
        reply: "the number of records; with - the records",
        examples: &[
            Example { line: ".export people.csv --prefix people: --strip", output: "" },
            Example { line: ".export - --format jsonl", output: "" },
        ],
        ..PLAIN
    },
    Spec {
        verb: Verb::Read,
        name: ".read",
        args: &[FILE],
        summary: "run the commands in FILE",
        details: "Runs the commands in FILE, line by line, and stops at the first that fails unless .bail is off.\n\
                  For a one-shot - stands for standard input.",
        reply: "the replies of the commands",
        examples: &[Example { line: ".read setup.kv", output: "" }],
        exits: &[(2, "a line of FILE can't be understood")],
        ..PLAIN
    },
    Spec {
        verb: Verb::Output,
        name: ".output",
        args: &[Arg { arity: Arity::Optional, ..FILE }],
        summary: "send results to FILE, or back to standard output",
        details: "Sends the results of the commands that follow to FILE, whose old contents are dropped first; without FILE, or \
                  with -, to standard output again. Errors stay on standard error.",
        reply: "OK, on standard output",
        examples: &[
            Example { line: ".output report.txt", output: "OK" },
            Example { line: "count", output: "" },
            Example { line: ".output", output: "OK" },
        ],
        exits: &[(5, "FILE can't be written; later results go to standard output again")],
        ..PLAIN
    },
    Spec {
        verb: Verb::Once,
        name: ".once",
        args: &[FILE],
        summary: "send the results of the next command to FILE",
        details: "Sends the results of the next command to FILE, whose old contents are dropped first, and those of later \
                  commands to standard output again.",
        reply: "OK, on standard output",
        examples: &[Example { line: ".once keys.txt", output: "OK" }, Example { line: "keys", output: "" }],
        exits: &[(5, "FILE can't be written")],
        ..PLAIN
    },
    Spec {
        verb: Verb::Mode,
        name: ".mode",
        args: &[choice("MODE", OUTPUT_MODES)],
        summary: "show or set how results are written",
        details: "Sets how results are written, or shows it. MODE is one of these.\n\
                  quoted: literals that read back to the same bytes, null for what is missing.\n\
                  raw: the exact bytes and nothing else. null: the same, a NUL behind each.\n\
                  json: one document for each command. jsonl: one object for each record.\n\
                  csv: comma-separated columns. tsv: columns divided by TAB.\n\
                  table: aligned columns, cut to the width of the terminal.\n\
                  script: commands that would store the result again.",
        reply: "OK; without MODE its name",
        examples: &[
            Example { line: ".mode", output: "quoted" },
            Example { line: ".mode json", output: "{\"ok\":true}" },
        ],
        ..PLAIN
    },
    Spec {
        verb: Verb::Timer,
        name: ".timer",
        args: &[choice("on|off", &["on", "off"])],
        summary: "show or set whether commands are timed",
        details: "Sets whether the time that each command took is shown after its result, or shows the setting.",
        reply: "OK; without an argument on or off",
        examples: &[Example { line: ".timer", output: "off" }, Example { line: ".timer on", output: "OK" }],
        ..PLAIN
    },
    Spec {
        verb: Verb::Echo,
        name: ".echo",
        args: &[choice("on|off", &["on", "off"])],
        summary: "show or set whether a script's lines are shown",
        details: "Sets whether each command of a script is shown before its results, or shows the setting.",
        reply: "OK; without an argument on or off",
        examples: &[
            Example { line: ".echo on", output: "OK" },
            Example { line: "set a 1", output: "set a 1\nOK" },
        ],
        ..PLAIN
    },
    Spec {
        verb: Verb::Pager,
        name: ".pager",
        args: &[choice("on|off|auto", &["on", "off", "auto"])],
        summary: "show or set when results go through a pager",
        details: "Sets when results at the prompt are shown by a pager, or shows the setting: auto if they are taller than the \
                  screen, on always, off never. The pager is the command in KVDB_PAGER, in the setting pager or in PAGER, or \
                  else less. Results come as they are read; to leave the pager stops the command.",
        reply: "OK; without an argument the setting",
        examples: &[Example { line: ".pager", output: "auto" }, Example { line: ".pager off", output: "OK" }],
        ..PLAIN
    },
    Spec {
        verb: Verb::Bail,
        name: ".bail",
        args: &[choice("on|off|auto", &["on", "off", "auto"])],
        summary: "show or set whether a script stops at an error",
        details: "Sets whether a script stops at the first error, or shows the setting. auto goes on in a script on standard \
                  input and stops in .read.",
        reply: "OK; without an argument on, off or auto",
        examples: &[Example { line: ".bail", output: "auto" }, Example { line: ".bail on", output: "OK" }],
        ..PLAIN
    },
    Spec {
        verb: Verb::History,
        name: ".history",
        args: &[choice("N|on|off", &["on", "off"])],
        summary: "show what was typed, or stop keeping it",
        details: "Shows the last N commands that were typed, or 20. off keeps none from now on in this session, on does again. \
                  Never kept is a line that begins with a blank, that repeats the one before, or that holds one of the words \
                  in the setting history_ignore.",
        reply: "a command a line; OK",
        examples: &[
            Example { line: ".history off", output: "OK" },
            Example { line: ".history 5", output: "" },
        ],
        ..PLAIN
    },
    Spec {
        verb: Verb::Open,
        name: ".open",
        args: &[Arg { name: "DIR", ..FILE }],
        summary: "go on with another database",
        details: "Goes on with the database in DIR, and leaves the one that was open. As at the start, a database that is not \
                  there is created by the first write. The settings stay as they are.",
        reply: "OK",
        examples: &[Example { line: ".open other.kvdb", output: "OK" }],
        exits: &[(3, "DIR can't be opened; the database is the one before")],
        ..PLAIN
    },
    Spec {
        verb: Verb::Config,
        name: ".config",
        args: &[Arg { name: "init", arity: Arity::One, kind: Kind::Choice(&["init"]) }],
        summary: "write a config file to start from",
        details: "Writes the user's configuration file with every setting, each explained, and commented out with its default. \
                  A file that is there already is left as it is.",
        reply: "the path of the file",
        examples: &[Example { line: ".config init", output: "" }],
        exits: &[(5, "the file is there already, or can't be written")],
        ..PLAIN
    },
    Spec {
        verb: Verb::Show,
        name: ".show",
        summary: "show the settings and where each comes from",
        details: "Shows every setting, its value, and whether it was given by an option, the environment, the \
                  configuration file or this session.",
        reply: "a setting a line",
        examples: &[Example { line: ".show", output: "" }],
        ..PLAIN
    },
    Spec {
        verb: Verb::Version,
        name: ".version",
        summary: "show the version of kvdb",
        details: "Shows the name and the version of this program.",
        reply: "one line",
        examples: &[Example { line: ".version", output: "" }],
        ..PLAIN
    },
    Spec {
        verb: Verb::Completions,
        name: ".completions",
        args: &[Arg {
            name: "bash|zsh|fish",
            arity: Arity::One,
            kind: Kind::Choice(&["bash", "zsh", "fish"]),
        }],
        summary: "print a completion script for a shell",
        details: "Prints a script by which bash, zsh or fish completes the command line of kvdb: commands, options, their \
                  values, files.\n\
                  For bash: eval \"$(kvdb completions bash)\" in ~/.bashrc. For zsh: kvdb completions zsh > a file _kvdb in a \
                  directory of $fpath. For fish: kvdb completions fish > ~/.config/fish/completions/kvdb.fish.",
        reply: "the script",
        examples: &[Example { line: ".completions bash", output: "" }],
        ..PLAIN
    },
    Spec {
        verb: Verb::Man,
        name: ".man",
        summary: "print the manual page",
        details: "Prints the manual page in the language of man: kvdb man > kvdb.1, then man ./kvdb.1.",
        reply: "the page",
        examples: &[Example { line: ".man", output: "" }],
        ..PLAIN
    },
    Spec {
        verb: Verb::Tutorial,
        name: ".tutorial",
        summary: "learn kvdb in five minutes",
        details: "Begins a tour in short steps at the prompt, on a database of its own that is gone afterwards. .tutorial once \
                  more, exit or Ctrl-D leaves it at any time and comes back to the database that was open.",
        reply: "the first step",
        examples: &[Example { line: ".tutorial", output: "" }],
        exits: &[(2, "there is no prompt")],
        ..PLAIN
    },
    Spec {
        verb: Verb::Help,
        name: "help",
        aliases: &["?", ".help"],
        args: &[Arg { name: "TOPIC", arity: Arity::Optional, kind: Kind::Topic }],
        summary: "list the commands, or explain one",
        details: "Lists the commands, or explains the one that is called TOPIC.",
        reply: "text",
        examples: &[Example { line: "help", output: "" }, Example { line: "help scan", output: "" }],
        ..PLAIN
    },
    Spec {
        verb: Verb::Exit,
        name: "exit",
        aliases: &["quit", ".q", ".exit", ".quit"],
        summary: "leave the shell",
        details: "Leaves the shell, as Ctrl-D does. In a script the rest is not run. An open transaction is rolled back.",
        reply: "nothing",
        examples: &[Example { line: "exit", output: "" }],
        ..PLAIN
    },
];

//! `kvdb completions bash|zsh|fish`: how those shells complete the command line, made of the table of commands and the flags.
//!
//! ```text
//! kvdb  --flag VALUE  VERB  --option VALUE  ARGUMENT
//!       ╰ config::FLAGS ╯╰───── table::specs() ─────╯
//! ```
//!
//! Each shell gets the same: flags and their words before the verb, names where the verb stands, behind it the options of that
//! verb, and files, directories or words where an argument is one. Keys are not completed: the shell would have to quote them.

#![expect(clippy::format_push_string, reason = "made once, and read best as the text that it will be")]

use std::fmt::Write as _;

use super::command::CompletingShell;
use super::table::{self, Kind, Spec, Verb};
use crate::config::{self, FLAGS, Flag, FlagValue, Name};

/// The script for a shell.
pub(super) fn script(shell: CompletingShell) -> String {
    match shell {
        CompletingShell::Bash => bash(),
        CompletingShell::Zsh => zsh(),
        CompletingShell::Fish => fish(),
    }
}

/// What an argument, or the value of an option, can be completed with.
enum Values {
    Files,
    Directories,
    Words(Vec<&'static str>),
    /// Nothing that is known.
    Free,
}

impl Values {
    fn of_flag(flag: &Flag) -> Self {
        match config::words(flag.setting) {
            _ if flag.setting == Name::Db => Self::Directories,
            words if words.is_empty() => Self::Free,
            words => Self::Words(words),
        }
    }

    fn of_kind(kind: Kind) -> Self {
        match kind {
            Kind::File => Self::Files,
            Kind::Choice(words) => Self::Words(words.to_vec()),
            Kind::Topic => Self::Words(table::specs().map(Spec::one_shot_name).collect()),
            _ => Self::Free,
        }
    }

    fn of_args(spec: &Spec) -> Self {
        let known = |values: &Self| !matches!(values, Self::Free);
        let mut values = spec.args.iter().map(|arg| Self::of_kind(arg.kind)).filter(known);
        match values.next() {
            Some(Self::Files) if spec.verb == Verb::Open => Self::Directories,
            Some(values) => values,
            None => Self::Free,
        }
    }
}

/// The flags that take a value.
fn typed_flags() -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().filter(|flag| matches!(flag.value, FlagValue::Typed(_)))
}

fn flag_names() -> String {
    let names: Vec<&str> =
        FLAGS.iter().map(|flag| flag.name).chain(["--no-config", "-c", "--help", "--version"]).collect();
    names.join(" ")
}

fn names(spec: &Spec) -> Vec<&'static str> {
    std::iter::once(spec.one_shot_name())
        .chain(spec.aliases.iter().copied().filter(|name| is_word(name)))
        .collect()
}

/// Whether it is a name that people type to a shell.
fn is_word(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_lowercase())
}

fn bash() -> String {
    let with_value: Vec<&str> = typed_flags().map(|flag| flag.name).chain(["-c"]).collect();
    let mut text = format!(
        "# How bash completes kvdb {}: eval \"$(kvdb completions bash)\"\n\
         _kvdb() {{\n    \
             local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} verb= words= kind= i\n    \
             COMPREPLY=()\n    \
             for ((i = 1; i < COMP_CWORD; i++)); do\n        \
                 case ${{COMP_WORDS[i]}} in\n            \
                     {}) ((i++)) ;;\n            \
                     -?*) ;;\n            \
                     *) verb=${{COMP_WORDS[i]}}; break ;;\n        \
                 esac\n    \
             done\n    \
             case $verb:$prev in\n",
        env!("CARGO_PKG_VERSION"),
        with_value.join("|"),
    );
    for flag in typed_flags() {
        bash_case(&mut text, &format!(":{}", flag.name), &Values::of_flag(flag), "");
    }
    bash_case(&mut text, ":-c", &Values::Free, "");
    for spec in table::specs() {
        for option in spec.options {
            if let Some((_, kind)) = option.value {
                let pattern: Vec<_> =
                    names(spec).iter().map(|name| format!("{name}:{}", option.name)).collect();
                bash_case(&mut text, &pattern.join("|"), &Values::of_kind(kind), "");
            }
        }
    }
    let verbs: Vec<_> = table::specs().flat_map(names).collect();
    writeln!(text, "        :*) words='{} {}' ;;", flag_names(), verbs.join(" ")).unwrap_or_default();
    for spec in table::specs() {
        let options: Vec<_> = spec.options.iter().map(|option| option.name).collect();
        let pattern: Vec<_> = names(spec).iter().map(|name| format!("{name}:*")).collect();
        bash_case(&mut text, &pattern.join("|"), &Values::of_args(spec), &options.join(" "));
    }
    text + "    esac\n    \
        case $kind in\n        \
            files) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n        \
            dirs) COMPREPLY=($(compgen -d -- \"$cur\")) ;;\n    \
        esac\n    \
        if [[ -n $words && ( -z $kind || $cur == -* ) ]]; then\n        \
            COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n    \
        fi\n\
    }\n\
    complete -o bashdefault -o filenames -F _kvdb kvdb\n"
}

fn bash_case(text: &mut String, pattern: &str, values: &Values, options: &str) {
    let (kind, words) = match values {
        Values::Files => ("files", String::new()),
        Values::Directories => ("dirs", String::new()),
        Values::Words(words) => ("", words.join(" ")),
        Values::Free => ("", String::new()),
    };
    let all = format!("{options} {words}");
    let mut parts = Vec::new();
    if !kind.is_empty() {
        parts.push(format!("kind={kind}"));
    }
    if !all.trim().is_empty() {
        parts.push(format!("words='{}'", all.trim()));
    }
    if parts.is_empty() {
        parts.push(":".into());
    }
    *text += &format!("        {pattern}) {} ;;\n", parts.join(" "));
}

fn zsh() -> String {
    let mut text = "#compdef kvdb\n\
        # How zsh completes kvdb: a file _kvdb in a directory of $fpath.\n\
        _kvdb() {\n  \
          local curcontext=\"$curcontext\" state line\n  \
          local -a verbs\n  \
          verbs=(\n"
        .to_owned();
    for spec in table::specs() {
        for name in names(spec) {
            text += &format!("    {}\n", zsh_quoted(&format!("{name}:{}", spec.summary)));
        }
    }
    text += "  )\n  _arguments -C \\\n";
    for flag in &FLAGS {
        let value = match flag.value {
            FlagValue::Typed(name) => format!(":{name}:{}", zsh_action(&Values::of_flag(flag))),
            FlagValue::Fixed(_) => String::new(),
        };
        text +=
            &format!("    {} \\\n", zsh_quoted(&format!("{}[{}]{value}", flag.name, zsh_text(flag.summary))));
    }
    text += "    '--no-config[Leave configuration files out]' '*-c[Run a line]:LINE:' \\\n    \
             '(-)--help[Show help]' '(-)--version[Show the version]' \\\n    \
             '1: :->verb' '*:: :->args'\n  \
             case $state in\n    \
             verb) _describe -t commands command verbs ;;\n    \
             args)\n      case $line[1] in\n";
    for spec in table::specs() {
        let mut arguments: Vec<String> = spec.options.iter().map(zsh_option).collect();
        let action = zsh_action(&Values::of_args(spec));
        if action != " " {
            arguments.push(zsh_quoted(&format!("*:argument:{action}")));
        }
        if !arguments.is_empty() {
            text += &format!("        {}) _arguments {} ;;\n", names(spec).join("|"), arguments.join(" "));
        }
    }
    text + "      esac ;;\n  esac\n}\nif [[ $funcstack[1] == _kvdb ]]; then _kvdb \"$@\"; else compdef _kvdb kvdb; fi\n"
}

fn zsh_option(option: &table::Opt) -> String {
    let value = option.value.map(|(name, kind)| format!(":{name}:{}", zsh_action(&Values::of_kind(kind))));
    zsh_quoted(&format!("{}[{}]{}", option.name, zsh_text(option.summary), value.unwrap_or_default()))
}

fn zsh_action(values: &Values) -> String {
    match values {
        Values::Files => "_files".into(),
        Values::Directories => "_files -/".into(),
        Values::Words(words) => format!("({})", words.join(" ")),
        Values::Free => " ".into(),
    }
}

/// A text in the brackets of a description.
fn zsh_text(text: &str) -> String {
    text.replace('[', "(").replace(']', ")").replace(':', "\\:")
}

fn zsh_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn fish() -> String {
    let mut text =
        "# How fish completes kvdb: ~/.config/fish/completions/kvdb.fish\ncomplete -c kvdb -f\n".to_owned();
    for flag in &FLAGS {
        let values = match flag.value {
            FlagValue::Typed(_) => fish_values(&Values::of_flag(flag), "-x"),
            FlagValue::Fixed(_) => String::new(),
        };
        let summary = fish_quoted(flag.summary);
        text += &format!(
            "complete -c kvdb -n __fish_use_subcommand -l {}{values} -d {summary}\n",
            flag.name.trim_start_matches('-')
        );
    }
    text += "complete -c kvdb -n __fish_use_subcommand -s c -x -d 'Run a line'\n\
             complete -c kvdb -n __fish_use_subcommand -l no-config -d 'Leave configuration files out'\n";
    for spec in table::specs() {
        let summary = fish_quoted(spec.summary);
        for name in names(spec) {
            text += &format!("complete -c kvdb -n __fish_use_subcommand -a {name} -d {summary}\n");
        }
        fish_verb(&mut text, spec);
    }
    text
}

fn fish_verb(text: &mut String, spec: &Spec) {
    let seen = format!("complete -c kvdb -n '__fish_seen_subcommand_from {}'", names(spec).join(" "));
    for option in spec.options {
        let values = option.value.map(|(_, kind)| fish_values(&Values::of_kind(kind), "-x"));
        *text += &format!(
            "{seen} -l {}{} -d {}\n",
            option.name.trim_start_matches('-'),
            values.unwrap_or_default(),
            fish_quoted(option.summary)
        );
    }
    let values = fish_values(&Values::of_args(spec), "");
    if !values.trim().is_empty() {
        *text += &format!("{seen}{values}\n");
    }
}

fn fish_values(values: &Values, free: &str) -> String {
    match values {
        Values::Files => " -F".to_owned() + if free.is_empty() { "" } else { " -r" },
        Values::Directories => " -x -a '(__fish_complete_directories)'".into(),
        Values::Words(words) => format!(" -x -a '{}'", words.join(" ")),
        Values::Free => format!(" {free}"),
    }
}

fn fish_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

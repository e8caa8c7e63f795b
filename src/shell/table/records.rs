//! The verbs: what is done with keys and values.

use super::{Arg, Arity, Example, Group, Kind, Opt, Spec, Verb};

const KEY: Arg = Arg { name: "KEY", arity: Arity::One, kind: Kind::Key };
const KEYS: Arg = Arg { name: "KEY", arity: Arity::Many, kind: Kind::Key };
const VALUE: Arg = Arg { name: "VALUE", arity: Arity::One, kind: Kind::Value };
const PREFIX: Arg = Arg { name: "PREFIX", arity: Arity::Optional, kind: Kind::Bound };

const FLAG: Opt =
    Opt { name: "", value: None, summary: "", excludes_previous: false, replaces_last_arg: false };
const VALUE_FILE: Opt = Opt {
    name: "--value-file",
    value: Some(("FILE", Kind::File)),
    summary: "one-shot only: the value is what FILE holds, byte for byte",
    replaces_last_arg: true,
    ..FLAG
};
const FROM: Opt = Opt {
    name: "--from",
    value: Some(("KEY", Kind::Bound)),
    summary: "only keys from KEY on, KEY included",
    ..FLAG
};
const TO: Opt = Opt {
    name: "--to",
    value: Some(("KEY", Kind::Bound)),
    summary: "only keys below KEY, KEY not included",
    ..FLAG
};
const GLOB: Opt = Opt {
    name: "--glob",
    value: Some(("PATTERN", Kind::Bound)),
    summary: "only keys like PATTERN: * any bytes, ? one character, [a-z]",
    ..FLAG
};
const REVERSE: Opt = Opt { name: "--reverse", summary: "the last key first", ..FLAG };
const LIMIT: Opt =
    Opt { name: "--limit", value: Some(("N", Kind::Count)), summary: "at most N keys", ..FLAG };
const ONLY_KEYS: Opt = Opt { name: "--keys", summary: "keys without values", ..FLAG };
const ONLY_VALUES: Opt =
    Opt { name: "--values", summary: "values without keys", excludes_previous: true, ..FLAG };

const DURATION: Arg = Arg { name: "DURATION", arity: Arity::One, kind: Kind::Duration };
const IF_ABSENT: Opt = Opt { name: "--nx", summary: "only if KEY is not there", ..FLAG };
const IF_PRESENT: Opt =
    Opt { name: "--xx", summary: "only if KEY is there", excludes_previous: true, ..FLAG };
const IF_VALUE: Opt = Opt {
    name: "--if-value",
    value: Some(("OLD", Kind::Value)),
    summary: "only if KEY has the value OLD",
    excludes_previous: true,
    ..FLAG
};
const TTL: Opt = Opt {
    name: "--ttl",
    value: Some(("DURATION", Kind::Duration)),
    summary: "for so long: 500ms, 10s, 10m, 2h, 7d, 1h30m",
    ..FLAG
};
const EXPIRES_AT: Opt = Opt {
    name: "--expires-at",
    value: Some(("TIME", Kind::Moment)),
    summary: "until then: 2026-11-22T14:05:09.250Z",
    excludes_previous: true,
    ..FLAG
};

const NEGATIVE: &[(u8, &str)] = &[(1, "one-shot: the reply is null, nothing was changed")];
const MISSING: &[(u8, &str)] = &[(1, "one-shot: a key is missing; it is still printed as null or false")];

pub(super) const SPECS: &[Spec] = &[
    Spec {
        verb: Verb::Set,
        name: "set",
        aliases: &[],
        group: Group::Records,
        args: &[KEY, VALUE],
        options: &[IF_ABSENT, IF_PRESENT, IF_VALUE, TTL, EXPIRES_AT, VALUE_FILE],
        summary: "store VALUE under KEY",
        details: "Stores VALUE under KEY and replaces what was there. KEY has at most 65535 bytes, VALUE at most 512 MiB; \
                  both may be empty and hold any bytes. The condition is checked and the value stored in \
                  one step.\n\
                  With --ttl or --expires-at the key is there for so long, exact to the millisecond, by a clock that never \
                  goes back; without, for good, whatever was set before.\n\
                  A one-shot reads VALUE from standard input, byte for byte, when it is -.",
        reply: "OK; null if the condition does not hold, and then nothing is changed",
        examples: &[
            Example { line: "set name \"Jaya Krishna\"", output: "OK" },
            Example { line: "set lock mine --nx --ttl 30s", output: "OK" },
            Example { line: "set lock yours --nx", output: "null" },
        ],
        exits: NEGATIVE,
    },
    Spec {
        verb: Verb::Get,
        name: "get",
        aliases: &[],
        group: Group::Records,
        args: &[KEYS],
        options: &[Opt {
            name: "--default",
            value: Some(("VALUE", Kind::Value)),
            summary: "what stands for a KEY that is not there",
            ..FLAG
        }],
        summary: "print the value of each KEY",
        details: "Prints the value of each KEY as a literal that reads back to the same bytes, or null, without quotes, \
                  where there is none. With --default there is always one.",
        reply: "one literal or null for each KEY",
        examples: &[
            Example { line: "set name \"Jaya Krishna\"", output: "OK" },
            Example { line: "get name", output: "\"Jaya Krishna\"" },
            Example { line: "get nobody", output: "null" },
        ],
        exits: MISSING,
    },
    Spec {
        verb: Verb::Delete,
        name: "delete",
        aliases: &["del", "rm"],
        group: Group::Records,
        args: &[Arg { arity: Arity::Any, ..KEYS }],
        options: &[
            Opt {
                name: "--prefix",
                value: Some(("PREFIX", Kind::Bound)),
                summary: "all keys that begin with PREFIX, instead of KEY",
                ..FLAG
            },
            Opt { name: "--dry-run", summary: "only count what would be removed", ..FLAG },
        ],
        summary: "remove each KEY, or all with a prefix",
        details: "Removes each KEY and its value. A KEY that is not there is no error; all are removed together or none.\n\
                  With --prefix it removes any number of keys, those that are there when it begins: what others add \
                  meanwhile stays. At the prompt it asks before it removes more than 1,000.",
        reply: "the number of keys that were there",
        examples: &[
            Example { line: "set name Ann", output: "OK" },
            Example { line: "delete name", output: "1" },
            Example { line: "delete --prefix user: --dry-run", output: "0" },
        ],
        exits: &[],
    },
    Spec {
        verb: Verb::Exists,
        name: "exists",
        aliases: &[],
        group: Group::Records,
        args: &[KEYS],
        options: &[],
        summary: "tell whether each KEY is there",
        details: "Tells for each KEY whether it has a value, without printing the value.",
        reply: "true or false for each KEY",
        examples: &[
            Example { line: "set name Ann", output: "OK" },
            Example { line: "exists name nobody", output: "true\nfalse" },
        ],
        exits: MISSING,
    },
    Spec {
        verb: Verb::Incr,
        name: "incr",
        aliases: &[],
        group: Group::Records,
        args: &[KEY, Arg { name: "N", arity: Arity::Optional, kind: Kind::Integer }],
        options: &[],
        summary: "add N, or 1, to the number under KEY",
        details: "Adds N, or 1, to the number under KEY. A KEY that is not there counts as 0. The value must be a decimal \
                  64-bit integer, and so must the result: otherwise nothing is changed. KEY keeps its lifetime.",
        reply: "the new number",
        examples: &[
            Example { line: "incr visits", output: "1" },
            Example { line: "incr visits 41", output: "42" },
            Example { line: "incr visits -2", output: "40" },
        ],
        exits: &[],
    },
    Spec {
        verb: Verb::Append,
        name: "append",
        aliases: &[],
        group: Group::Records,
        args: &[KEY, VALUE],
        options: &[VALUE_FILE],
        summary: "add VALUE at the end of what KEY holds",
        details: "Adds VALUE at the end of the value of KEY. A KEY that is not there counts as empty. KEY keeps its \
                  lifetime.\n\
                  A one-shot reads VALUE from standard input, byte for byte, when it is -.",
        reply: "the new length in bytes",
        examples: &[
            Example { line: "append log one", output: "3" },
            Example { line: "append log \", two\"", output: "8" },
        ],
        exits: &[],
    },
    Spec {
        verb: Verb::Rename,
        name: "rename",
        aliases: &[],
        group: Group::Records,
        args: &[KEY, Arg { name: "NEWKEY", ..KEY }],
        options: &[Opt { summary: "only if NEWKEY is not there", ..IF_ABSENT }],
        summary: "move the value of KEY to NEWKEY",
        details: "Moves the value of KEY to NEWKEY, in one step, and with it how long it is there. What NEWKEY held before is \
                  replaced, unless --nx is given.",
        reply: "OK; null if KEY is not there, or with --nx NEWKEY is",
        examples: &[
            Example { line: "set draft text", output: "OK" },
            Example { line: "rename draft final", output: "OK" },
            Example { line: "rename draft final", output: "null" },
        ],
        exits: NEGATIVE,
    },
    Spec {
        verb: Verb::Ttl,
        name: "ttl",
        aliases: &[],
        group: Group::Records,
        args: &[KEYS],
        options: &[],
        summary: "tell how long each KEY will be there",
        details: "Tells for each KEY how long it will still be there, exact to the millisecond: a duration that --ttl would \
                  read; none if it stays for good; null if it is not there.",
        reply: "a duration, none or null for each KEY",
        examples: &[
            Example { line: "set name Ann", output: "OK" },
            Example { line: "ttl name nobody", output: "none\nnull" },
        ],
        exits: &[(1, "one-shot: a key is missing; it is still printed as null")],
    },
    Spec {
        verb: Verb::Expire,
        name: "expire",
        aliases: &[],
        group: Group::Records,
        args: &[KEY, DURATION],
        options: &[],
        summary: "let KEY be there for DURATION from now on",
        details: "Lets KEY and its value be there for DURATION from now on, in a transaction from its commit on: 500ms, 10s, \
                  10m, 2h, 7d, or several together like 1h30m, at least 1ms.",
        reply: "OK; null if KEY is not there",
        examples: &[
            Example { line: "set name Ann", output: "OK" },
            Example { line: "expire name 1h30m", output: "OK" },
            Example { line: "expire nobody 10s", output: "null" },
        ],
        exits: NEGATIVE,
    },
    Spec {
        verb: Verb::Persist,
        name: "persist",
        aliases: &[],
        group: Group::Records,
        args: &[KEY],
        options: &[],
        summary: "let KEY be there for good",
        details: "Lets KEY and its value be there for good, as if they had been set without --ttl.",
        reply: "OK; null if KEY is not there",
        examples: &[
            Example { line: "set name Ann --ttl 10m", output: "OK" },
            Example { line: "persist name", output: "OK" },
            Example { line: "ttl name", output: "none" },
        ],
        exits: NEGATIVE,
    },
    Spec {
        verb: Verb::Count,
        name: "count",
        aliases: &[],
        group: Group::Ranges,
        args: &[PREFIX],
        options: &[FROM, TO, GLOB, REVERSE, LIMIT],
        summary: "count keys",
        details: "Counts all keys, or those that begin with PREFIX, lie between --from and --to and are like --glob.",
        reply: "a number",
        examples: &[
            Example { line: "set user:1 Ann", output: "OK" },
            Example { line: "set user:2 Bob", output: "OK" },
            Example { line: "count user:", output: "2" },
        ],
        exits: &[],
    },
    Spec {
        verb: Verb::Keys,
        name: "keys",
        aliases: &[],
        group: Group::Ranges,
        args: &[PREFIX],
        options: &[FROM, TO, GLOB, REVERSE, LIMIT],
        summary: "list keys",
        details: "Lists all keys, or those that begin with PREFIX, lie between --from and --to and are like --glob, in \
                  byte order.",
        reply: "one literal a line",
        examples: &[
            Example { line: "set user:1 Ann", output: "OK" },
            Example { line: "set user:2 Bob", output: "OK" },
            Example { line: "keys --reverse --limit 1", output: "\"user:2\"" },
        ],
        exits: &[],
    },
    Spec {
        verb: Verb::Scan,
        name: "scan",
        aliases: &[],
        group: Group::Ranges,
        args: &[PREFIX],
        options: &[FROM, TO, GLOB, REVERSE, LIMIT, ONLY_KEYS, ONLY_VALUES],
        summary: "list keys and values",
        details: "Lists all records, or those whose keys begin with PREFIX, lie between --from and --to and are like \
                  --glob, in byte order. What it shows is the state at one moment, however long it takes.",
        reply: "key and value, two literals a line",
        examples: &[
            Example { line: "set user:1 Ann", output: "OK" },
            Example { line: "set user:2 Bob", output: "OK" },
            Example { line: "scan --glob us*:[2-9]", output: "\"user:2\" \"Bob\"" },
        ],
        exits: &[],
    },
    Spec {
        verb: Verb::Begin,
        name: "begin",
        aliases: &[],
        group: Group::Transactions,
        args: &[],
        options: &[],
        summary: "begin a transaction",
        details: "Begins a transaction. Until commit or rollback, reads see the database as it was at begin, together with \
                  the transaction's own writes; nobody else sees those. A command that fails in between makes commit refuse.",
        reply: "OK",
        examples: &[
            Example { line: "begin", output: "OK" },
            Example { line: "set name Ann", output: "OK" },
            Example { line: "commit", output: "OK" },
        ],
        exits: &[(2, "the transaction was still open at the end of the script; it was rolled back")],
    },
    Spec {
        verb: Verb::Commit,
        name: "commit",
        aliases: &[],
        group: Group::Transactions,
        args: &[],
        options: &[],
        summary: "apply the transaction, all of it or nothing",
        details: "Applies everything that was written since begin, all of it or nothing. It refuses, and rolls back, when a \
                  command of the transaction failed.",
        reply: "OK",
        examples: &[
            Example { line: "begin", output: "OK" },
            Example { line: "set name Ann", output: "OK" },
            Example { line: "commit", output: "OK" },
        ],
        exits: &[
            (1, "another process changed one of the keys first; nothing was applied"),
            (2, "a command of the transaction had failed; nothing was applied"),
        ],
    },
    Spec {
        verb: Verb::Rollback,
        name: "rollback",
        aliases: &[],
        group: Group::Transactions,
        args: &[],
        options: &[],
        summary: "drop what was written since begin",
        details: "Drops everything that was written since begin.",
        reply: "OK",
        examples: &[
            Example { line: "begin", output: "OK" },
            Example { line: "set name Ann", output: "OK" },
            Example { line: "rollback", output: "OK" },
        ],
        exits: &[],
    },
];

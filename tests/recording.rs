//! The session that README.md shows as a picture is played on a pseudo-terminal, drawn, and compared with the picture.
//!
//! `KVDB_RECORD=1 cargo test --test recording` writes `examples/session.svg` anew, for somebody to look at.
//!
//! ```text
//! keys ──▶ pseudo-terminal ──▶ kvdb ──▶ screen of 64 columns ──┬─▶ waited for, step by step
//!                                                              └─▶ SVG
//! ```
//!
//! 1. A step waits for what it must show, and never for time. A wait that is in vain ends in an error with the screen.
//! 2. What differs from run to run is not on the screen: no time, no path, no number of a process, no version.
//! 3. The picture says nothing but what the cells of the screen do.

#![allow(clippy::unwrap_used, reason = "a test fails where its surroundings do")]

mod common;

use std::fmt::Write as _;
use std::fs;
use std::num::NonZeroU16;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::Sandbox;
use rexpect::session::{PtySession, spawn_command};
use vt100::{Cell, Color, Parser, Screen};

const COLUMNS: u16 = 64;
const ROWS: u16 = 40;

/// After so long a wait is in vain.
const LIMIT: Duration = Duration::from_mins(1);

/// What is typed, and the prompt that follows its answer.
const LINES: &[(&str, &str)] = &[
    ("set user:1 \"Jaya Krishna\"", "kvdb>"),
    ("begin", "kvdb*>"),
    ("incr visits", "kvdb*>"),
    ("set user:2 Zoë Lee", "kvdb*>"),
    ("rollback", "kvdb>"),
    ("set user:2 \"Zoë\\tLee\"", "kvdb>"),
    (".mode table", "kvdb>"),
    ("scan user:", "kvdb>"),
];

/// What is left on the last line without Enter, and what the hint makes of it.
const UNFINISHED: (&str, &str) = ("set u", "kvdb> set user:2 \"Zoë\\tLee\"");

/// kvdb on a terminal, and what that shows.
struct Terminal {
    session: PtySession,
    parser: Parser,
}

impl Terminal {
    /// The size is set before kvdb starts, so that it never sees another.
    fn open(sandbox: &Sandbox) -> Self {
        let mut command = Command::new("sh");
        let start = format!("stty cols {COLUMNS} rows {ROWS} && exec \"$0\"");
        command.args(["-c", &start, env!("CARGO_BIN_EXE_kvdb")]);
        command.current_dir(sandbox.path()).env_clear().envs(sandbox.environment());
        command.envs([("PATH", "/usr/bin:/bin"), ("TERM", "xterm-256color"), ("LANG", "C.UTF-8")]);
        let [rows, columns] = [ROWS, COLUMNS].map(|cells| NonZeroU16::new(cells).unwrap());
        Self { session: spawn_command(command, None).unwrap(), parser: Parser::new(rows, columns, 0) }
    }

    fn press(&mut self, keys: &str) {
        self.session.send(keys).unwrap();
        self.session.flush().unwrap();
    }

    /// Takes in what is shown until the screen is as it should be.
    fn wait(&mut self, aim: &str, is_reached: impl Fn(&Screen) -> bool) {
        let start = Instant::now();
        while !is_reached(self.parser.screen()) {
            match self.session.try_read() {
                Some(byte) => self.parser.process(&[u8::try_from(byte).unwrap()]),
                None => sleep(Duration::from_millis(5)),
            }
            let screen = self.parser.screen();
            assert!(start.elapsed() < LIMIT, "{aim:?} does not come:\n{}", screen.contents());
        }
    }

    /// Types a line and waits for its answer, which the next prompt ends.
    fn enter(&mut self, line: &str, next: &str) {
        let (start, _) = self.parser.screen().cursor_position();
        let typed = format!("{} {line}", row(self.parser.screen(), start));
        self.press(&format!("{line}\r"));
        self.wait(line, |screen| {
            let (end, _) = screen.cursor_position();
            end > start && row(screen, start) == typed && is_prompt(screen, next)
        });
    }
}

/// The text of a row, without the blanks at its end.
fn row(screen: &Screen, number: u16) -> String {
    let text = screen.rows(0, COLUMNS).nth(number.into()).unwrap();
    text.trim_end().to_owned()
}

/// Whether the cursor waits behind this prompt, with nothing typed.
fn is_prompt(screen: &Screen, prompt: &str) -> bool {
    let (line, column) = screen.cursor_position();
    row(screen, line) == prompt && usize::from(column) == prompt.len() + 1
}

/// Plays the whole session and leaves it with the last line unfinished.
fn play() -> Terminal {
    let sandbox = Sandbox::new();
    let mut terminal = Terminal::open(&sandbox);
    terminal.wait("the prompt", |screen| is_prompt(screen, "kvdb>"));
    // What was said at the start names the version and the directory.
    terminal.press("\x0c");
    terminal.wait("an empty screen", |screen| {
        screen.cursor_position().0 == 0 && screen.contents().trim_end() == "kvdb>"
    });
    for (line, next) in LINES {
        terminal.enter(line, next);
    }
    let (typed, whole) = UNFINISHED;
    terminal.press(typed);
    terminal.wait(whole, |screen| {
        let (line, column) = screen.cursor_position();
        row(screen, line) == whole && usize::from(column) == "kvdb> ".len() + typed.len()
    });
    terminal
}

/// Width of a cell and height of a row, in the picture's own units.
const CELL: (u32, u32) = (9, 20);
const MARGIN: u32 = 16;

const GROUND: &str = "#1b1f27";
const TEXT: &str = "#d8dee9";

/// The eight colours, which the eight bright ones equal: the theme of the picture, not of the terminal.
const PALETTE: [&str; 8] =
    ["#4c566a", "#ff7b72", "#9ece6a", "#e5c07b", "#79a8ff", "#d99bf0", "#6cd0d8", "#d8dee9"];

/// Draws the rows of a screen down to its cursor.
fn drawn(screen: &Screen) -> String {
    let (last, column) = screen.cursor_position();
    let width = u32::from(COLUMNS) * CELL.0 + 2 * MARGIN;
    let height = u32::from(last + 1) * CELL.1 + 2 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" font-size=\"15\">\n\
         <title>A session at the prompt of kvdb</title>\n\
         <rect x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\" fill=\"{GROUND}\" stroke=\"#606876\"/>\n",
        width - 1,
        height - 1
    );
    let (x, y) = corner(last, column);
    writeln!(svg, "<rect x=\"{x}\" y=\"{}\" width=\"2\" height=\"18\" fill=\"{TEXT}\"/>", y + 1).unwrap();
    for number in 0..=last {
        svg += &drawn_row(screen, number);
    }
    svg + "</svg>\n"
}

/// Where a cell begins.
fn corner(row: u16, column: u16) -> (u32, u32) {
    (MARGIN + u32::from(column) * CELL.0, MARGIN + u32::from(row) * CELL.1)
}

/// Draws a row: cells that look alike and stand together are one piece, which stands where the first of them does.
fn drawn_row(screen: &Screen, number: u16) -> String {
    let mut pieces: Vec<(u16, String, String)> = Vec::new();
    for column in 0..COLUMNS {
        let cell = screen.cell(number, column).unwrap();
        if matches!(cell.contents(), "" | " ") {
            continue;
        }
        let look = look(cell);
        let end = |start: u16, text: &str| start + u16::try_from(text.chars().count()).unwrap();
        match pieces.last_mut() {
            Some((start, text, old)) if *old == look && end(*start, text) + 1 >= column => {
                text.extend((end(*start, text)..column).map(|_| ' '));
                text.push_str(cell.contents());
            }
            _ => pieces.push((column, cell.contents().to_owned(), look)),
        }
    }
    pieces.iter().map(|(column, text, look)| piece(number, *column, text, look)).collect()
}

/// Says how long the piece is, so that it ends in its cell whatever font there is.
fn piece(row: u16, column: u16, text: &str, look: &str) -> String {
    let (x, y) = corner(row, column);
    let length = CELL.0 * u32::try_from(text.chars().count()).unwrap();
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<text x=\"{x}\" y=\"{}\" textLength=\"{length}\"{look}>{text}</text>\n", y + 15)
}

/// How a cell looks, as attributes.
fn look(cell: &Cell) -> String {
    assert!(
        cell.bgcolor() == Color::Default && !cell.inverse(),
        "only the ink is drawn, not what is under it"
    );
    let mut look = format!(" fill=\"{}\"", colour(cell.fgcolor()));
    for (is_so, attribute) in [
        (cell.bold(), " font-weight=\"bold\""),
        (cell.dim(), " opacity=\"0.55\""),
        (cell.underline(), " text-decoration=\"underline\""),
    ] {
        look += if is_so { attribute } else { "" };
    }
    look
}

fn colour(colour: Color) -> &'static str {
    match colour {
        Color::Default => TEXT,
        Color::Idx(index @ 0..16) => PALETTE[usize::from(index % 8)],
        other => panic!("kvdb keeps to the sixteen colours, but here is {other:?}"),
    }
}

#[test]
fn the_recorded_session_is_what_kvdb_shows() {
    let svg = drawn(play().parser.screen());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/session.svg");
    if std::env::var_os("KVDB_RECORD").is_some() {
        fs::write(&file, &svg).unwrap();
    }
    let recorded = fs::read_to_string(&file).unwrap();
    assert!(
        recorded == svg,
        "not what is recorded; `KVDB_RECORD=1 cargo test --test recording` records it anew:\n{svg}"
    );
}

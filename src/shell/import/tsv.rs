//! Lines of cells with a TAB between them, and the escapes that [`render::tsv`](crate::shell::render::tsv) lists.

use std::io::BufRead;

use super::csv::without_end;
use super::lines::Lines;
use super::{Cells, Wrong};
use crate::shell::failure::Failure;
use crate::shell::literal::brief;
use crate::shell::render::tsv::{NOTHING, read_cell};

/// Reads the next record into `cells`; `false` at the end.
pub(super) fn next(lines: &mut Lines<'_, impl BufRead>, cells: &mut Cells) -> Result<bool, Failure> {
    if !lines.next()? {
        return Ok(false);
    }
    split(without_end(&lines.text), cells).map_err(|wrong| lines.wrong(wrong))?;
    Ok(true)
}

fn split(line: &[u8], cells: &mut Cells) -> Result<(), Wrong> {
    cells.clear();
    for cell in line.split(|&byte| byte == b'\t') {
        let read =
            if cell == NOTHING { None } else { Some(read_cell(cell).map_err(|at| unknown(&cell[at]))?) };
        cells.push(read);
    }
    Ok(())
}

fn unknown(escape: &[u8]) -> Wrong {
    let what = format!("unknown escape {} in a cell", brief(escape, 8));
    Wrong::new(what, r"a backslash is \\; the other escapes are \t \n \r \xHH, and a cell of \N for nothing")
}

//! What the kernel counts for a process and tells of the machine.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::store::Result;

/// The value of a line `name: value` of a file of that form.
fn field(file: &str, name: &str) -> Result<String> {
    let text = fs::read_to_string(file)?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
    Ok(value.ok_or_else(|| format!("{file} has no {name}"))?.trim().to_owned())
}

fn number(file: &str, name: &str) -> Result<u64> {
    let value = field(file, name)?;
    Ok(value.trim_end_matches(" kB").parse()?)
}

/// Bytes that this process sent to the device: pages that it made dirty, each time they were clean before, and direct writes,
/// less what was cut off or removed before it was written.
pub fn written_bytes() -> Result<u64> {
    let written = number("/proc/self/io", "write_bytes")?;
    Ok(written.saturating_sub(number("/proc/self/io", "cancelled_write_bytes")?))
}

/// Bytes that this process made the device read.
pub fn read_bytes() -> Result<u64> {
    number("/proc/self/io", "read_bytes")
}

/// Memory of this process that is not the contents of a file, in bytes.
pub fn anonymous_bytes() -> Result<u64> {
    Ok(number("/proc/self/status", "RssAnon")? << 10)
}

/// The most memory that this process ever had, mapped files included, in bytes.
pub fn peak_bytes() -> Result<u64> {
    Ok(number("/proc/self/status", "VmHWM")? << 10)
}

/// Time on a processor of all threads of this process, in ticks of the kernel (10 ms).
fn processor_ticks() -> Result<u64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = stat.rsplit_once(')').ok_or("/proc/self/stat has no name")?;
    // Fields 14 and 15 of the line, of which two are cut off.
    let times: Vec<&str> = rest.split_whitespace().skip(11).take(2).collect();
    times.iter().map(|ticks| Ok(ticks.parse::<u64>()?)).sum()
}

const IDLE_LOOK: Duration = Duration::from_millis(100);
/// The process is idle when it was for so many looks in a row.
const IDLE_LOOKS: u32 = 5;
const IDLE_TICKS: u64 = 1;
const LONGEST_SETTLE: Duration = Duration::from_mins(5);

/// Waits until this process has neither written nor computed for half a second: until the threads of an engine that work in
/// the background have nothing left to do.
pub fn wait_until_idle() -> Result<()> {
    let start = Instant::now();
    let mut idle_looks = 0;
    let mut before = (processor_ticks()?, written_bytes()?);
    while idle_looks < IDLE_LOOKS {
        if start.elapsed() > LONGEST_SETTLE {
            return Err("it still works in the background after five minutes".into());
        }
        sleep(IDLE_LOOK);
        let now = (processor_ticks()?, written_bytes()?);
        let is_idle = now.0 - before.0 <= IDLE_TICKS && now.1 == before.1;
        idle_looks = if is_idle { idle_looks + 1 } else { 0 };
        before = now;
    }
    Ok(())
}

/// One line about the machine and the file system that holds `dir`.
pub fn machine(dir: &Path) -> String {
    let unknown = || "unknown".to_owned();
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|_| unknown());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory =
        number("/proc/meminfo", "MemTotal").map_or_else(|_| unknown(), |kib| format!("{} GiB", kib >> 20));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_else(|_| unknown());
    let file_system = file_system(dir).unwrap_or_else(unknown);
    format!("{cpu}, {cores} cores, {memory}, Linux {}, {file_system}", kernel.trim())
}

/// The kind of file system that holds `dir`: that of the longest mount point above it.
fn file_system(dir: &Path) -> Option<String> {
    let dir = dir.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mount = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (words.next()?, words.next()?);
        dir.starts_with(point).then_some((point.len(), kind))
    });
    Some(mount.max_by_key(|(len, _)| *len)?.1.to_owned())
}

const SECONDS_PER_DAY: u64 = 86_400;

/// Today in UTC as `2026-11-22`.
pub fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = date(seconds / SECONDS_PER_DAY);
    format!("{year}-{month:02}-{day:02}")
}

/// The date of a day counted from 1970-01-01, by the calendar that begins its year in March (Hinnant).
const fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(20_779), (2026, 11, 22));
    }

    #[test]
    fn the_kernel_tells_what_is_asked() {
        assert!(anonymous_bytes().unwrap() > 0 && peak_bytes().unwrap() > 0);
        assert!(written_bytes().is_ok() && read_bytes().is_ok() && processor_ticks().is_ok());
    }
}

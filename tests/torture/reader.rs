//! Processes that read: what they see is whole, in order, and never older than what was seen before.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use super::history::{History, OVERWRITTEN};
use super::loader;
use super::process::{Session, check_notices};
use super::{Campaign, Random, Verdict, count};

/// Keys that a scan looks at.
const WINDOW: u64 = 400;

/// How often a snapshot is asked the same.
const SAME_QUESTIONS: usize = 3;

/// Runs sessions, one after the other.
pub(crate) fn hold_sessions(campaign: &Campaign) {
    let mut random = campaign.random(11);
    campaign.repeat("session", || {
        let mut session = Session::start(campaign)?;
        let questions = 1 + random.below(60);
        for _ in 0..questions {
            if !campaign.is_over() {
                ask(campaign, &mut session, &mut random)?;
            }
        }
        if random.below(2) == 0 {
            let dying = ["begin\nscan w1:\nrollback", "scan --reverse", "count", "set torn by-a-kill"];
            let question = dying[usize::try_from(random.below(4)).unwrap()];
            return session.kill_at(question, random.millis(40));
        }
        session.end()
    });
}

fn ask(campaign: &Campaign, session: &mut Session<'_>, random: &mut Random) -> Verdict {
    match random.below(8) {
        0..3 => get(campaign, session, random),
        3 => count_appended(campaign, session),
        4 | 5 => scan(campaign, session, random),
        _ => look_at_a_snapshot(campaign, session, random),
    }
}

/// What must be there, at least, of a key: the number of a change plus one, or 0.
fn least(campaign: &Campaign, history: History, key: u64) -> u64 {
    let acknowledged = campaign.acknowledged[history.at()].load(Ordering::SeqCst);
    let least = history.newest(key, acknowledged).map_or(0, |number| number + 1);
    match history {
        History::Overwrites => least.max(seen_at(campaign, key).load(Ordering::SeqCst)),
        _ => least,
    }
}

fn seen_at(campaign: &Campaign, key: u64) -> &std::sync::atomic::AtomicU64 {
    &campaign.seen_at[usize::try_from(key).unwrap()]
}

/// Holds a literal that was printed against what must be there. Nobody may see less from now on.
fn check_found(campaign: &Campaign, history: History, key: u64, least: u64, printed: &str) -> Verdict {
    let Some(value) = printed.strip_prefix('"').and_then(|value| value.strip_suffix('"')) else {
        return if least == 0 && printed == "null" {
            Ok(())
        } else {
            Err(format!("{} is {printed}, change {} is missing", history.key(key), least - 1))
        };
    };
    let found = history.check(key, value)? + 1;
    if found < least {
        let key = history.key(key);
        return Err(format!("{key} went back to change {} from {}", found - 1, least - 1));
    }
    campaign.seen[history.at()].fetch_max(found, Ordering::SeqCst);
    if history == History::Overwrites {
        seen_at(campaign, key).fetch_max(found, Ordering::SeqCst);
    }
    Ok(())
}

/// A key of a writer that is there, most probably.
fn some_key(campaign: &Campaign, history: History, random: &mut Random) -> u64 {
    let acknowledged = campaign.acknowledged[history.at()].load(Ordering::SeqCst).max(1);
    match history {
        History::Appends if random.below(2) == 0 => acknowledged - 1 - random.below(acknowledged.min(1_000)),
        History::Appends => random.below(acknowledged),
        History::Overwrites | History::Mixed => random.below(OVERWRITTEN.min(acknowledged)),
    }
}

fn get(campaign: &Campaign, session: &mut Session<'_>, random: &mut Random) -> Verdict {
    let keys = History::ALL.map(|history| some_key(campaign, history, random));
    let least: Vec<u64> =
        History::ALL.iter().map(|&history| least(campaign, history, keys[history.at()])).collect();
    let names = History::ALL.map(|history| history.key(keys[history.at()]));
    let answer = session.ask(&format!("get {}", names.join(" ")))?;
    for history in History::ALL {
        let printed = answer.get(history.at()).ok_or_else(|| format!("{names:?}: {answer:?}"))?;
        check_found(campaign, history, keys[history.at()], least[history.at()], printed)?;
    }
    Ok(())
}

fn number(text: &str) -> Verdict<u64> {
    text.trim().parse().map_err(|_| format!("{text:?} is no number"))
}

fn count_appended(campaign: &Campaign, session: &mut Session<'_>) -> Verdict {
    let acknowledged = campaign.acknowledged[0].load(Ordering::SeqCst);
    let counted = number(&session.ask_one("count w0:")?)?;
    campaign.seen[0].fetch_max(counted, Ordering::SeqCst);
    if counted < acknowledged {
        return Err(format!("{counted} keys are there, {acknowledged} are acknowledged"));
    }
    Ok(())
}

/// A walk over a window of a writer's keys.
struct Window {
    history: History,
    from: u64,
    to: u64,
}

impl Window {
    fn some(campaign: &Campaign, random: &mut Random) -> Self {
        let history = History::ALL[usize::try_from(random.below(3)).unwrap()];
        let from = some_key(campaign, history, random);
        let end = if history == History::Overwrites { OVERWRITTEN } else { u64::MAX };
        Self { history, from, to: (from + 1 + random.below(WINDOW)).min(end) }
    }

    fn question(&self, is_reverse: bool) -> String {
        let Self { history, from, to } = *self;
        let reverse = if is_reverse { " --reverse" } else { "" };
        format!("scan {} --from {} --to {}{reverse}", history.prefix(), history.key(from), history.key(to))
    }

    /// What must be there of each key.
    fn least(&self, campaign: &Campaign) -> Vec<u64> {
        (self.from..self.to).map(|key| least(campaign, self.history, key)).collect()
    }

    /// Holds the lines of a walk that runs forward against what must be there.
    fn check(&self, campaign: &Campaign, least: &[u64], lines: &[String]) -> Verdict {
        let mut lines = lines.iter().peekable();
        for (key, least) in (self.from..self.to).zip(least) {
            let start = format!("\"{}\" ", self.history.key(key));
            let printed = lines.next_if(|line| line.starts_with(&start));
            let value = printed.map_or("null", |line| &line[start.len()..]);
            check_found(campaign, self.history, key, *least, value)?;
        }
        count(&campaign.tally.scanned, self.to - self.from);
        lines.next().map_or(Ok(()), |line| Err(format!("{line:.60} is out of order")))
    }
}

fn scan(campaign: &Campaign, session: &mut Session<'_>, random: &mut Random) -> Verdict {
    let window = Window::some(campaign, random);
    for is_reverse in [false, true] {
        let least = window.least(campaign);
        let mut lines = session.ask(&window.question(is_reverse))?;
        if is_reverse {
            lines.reverse();
        }
        window.check(campaign, &least, &lines)?;
    }
    Ok(())
}

/// Asks the same things of a snapshot again and again, while others write, merge and load.
fn look_at_a_snapshot(campaign: &Campaign, session: &mut Session<'_>, random: &mut Random) -> Verdict {
    let window = Window::some(campaign, random);
    let least = window.least(campaign);
    let acknowledged = campaign.acknowledged[0].load(Ordering::SeqCst);
    let loaded = loader::loaded(campaign);
    expect_ok(&session.ask("begin")?)?;
    let kind = usize::try_from(random.below(2)).unwrap();
    let questions = [
        window.question(false),
        window.question(true),
        "count w0:".to_owned(),
        "count w2:".to_owned(),
        loader::KINDS[kind].some_records(random),
        format!("get {}", History::Appends.key(acknowledged)),
    ];
    let first = ask_all(session, &questions)?;
    for _ in 1..SAME_QUESTIONS {
        thread::sleep(random.millis(60));
        let again = ask_all(session, &questions)?;
        if let Some(at) = (0..questions.len()).find(|&at| first[at] != again[at]) {
            return Err(format!("a snapshot changed its mind about {:?}", questions[at]));
        }
    }
    let appended = number(&first[2].concat())?;
    let edge = session.ask(&format!(
        "get {} {}",
        History::Appends.key(appended.saturating_sub(1)),
        History::Appends.key(appended)
    ))?;
    expect_ok(&session.ask("rollback")?)?;
    window.check(campaign, &least, &first[0])?;
    let reversed: Vec<&String> = first[1].iter().rev().collect();
    if !first[0].iter().eq(reversed) {
        return Err(format!("{:?} is another backwards", questions[0]));
    }
    if appended < acknowledged || appended > 0 && (edge[0] == "null" || edge[1] != "null") {
        return Err(format!("a snapshot has {appended} keys of {acknowledged}, and at the edge {edge:?}"));
    }
    loader::KINDS[kind].check_lines(&first[4], loaded[kind])?;
    count(&campaign.tally.snapshots, 1);
    Ok(())
}

fn ask_all(session: &mut Session<'_>, questions: &[String]) -> Verdict<Vec<Vec<String>>> {
    questions.iter().map(|question| session.ask(question)).collect()
}

fn expect_ok(answer: &[String]) -> Verdict {
    if answer == ["OK"] { Ok(()) } else { Err(format!("not OK: {answer:?}")) }
}

/// Runs one-shot commands, one after the other.
pub(crate) fn ask_once(campaign: &Campaign) {
    let mut random = campaign.random(12);
    campaign.repeat("one-shot", || {
        if random.below(20) == 0 {
            count_once(campaign, &mut random)
        } else {
            get_once(campaign, &mut random)
        }
    });
}

fn get_once(campaign: &Campaign, random: &mut Random) -> Verdict {
    let history = History::ALL[usize::try_from(random.below(2)).unwrap()];
    let key = some_key(campaign, history, random);
    let least = least(campaign, history, key);
    let start = Instant::now();
    let ended = campaign.run_for(&["get", &history.key(key)], None)?;
    campaign.waited_since(start);
    count(&campaign.tally.one_shots, 1);
    check_notices(&ended.err)?;
    if ended.code != Some(0) && ended.code != Some(1) {
        return Err(format!("get {} ended with {:?}: {}", history.key(key), ended.code, ended.err));
    }
    check_found(campaign, history, key, least, ended.out.trim_end())
}

fn count_once(campaign: &Campaign, random: &mut Random) -> Verdict {
    let acknowledged = campaign.acknowledged[0].load(Ordering::SeqCst);
    let life = (random.below(2) == 0).then(|| random.millis(50));
    let ended = campaign.run_for(&["count", "w0:"], life)?;
    if !ended.is_done()? {
        return Ok(());
    }
    count(&campaign.tally.one_shots, 1);
    let counted = number(&ended.out)?;
    if counted < acknowledged {
        return Err(format!("{counted} keys are counted, {acknowledged} are acknowledged"));
    }
    Ok(())
}

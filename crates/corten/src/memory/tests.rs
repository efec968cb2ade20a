use std::collections::BTreeMap;

use clap::Parser as _;

use super::*;
use crate::cli::Cli;

/// A mapping as the kernel writes it, with the fields that count among others.
fn mapping(first: &str, anonymous: usize, swap: usize) -> String {
    format!(
        "{first}\nSize:               2048 kB\nRss:                1024 kB\nShared_Dirty:          8 kB\nPrivate_Clean:      1024 kB\n\
         Private_Dirty:         4 kB\nReferenced:         1024 kB\nAnonymous:      {anonymous:8} kB\nKSM:                   0 kB\n\
         Swap:           {swap:8} kB\nSwapPss:               7 kB\nTHPeligible:           0\nVmFlags: rd ex mr mw me\n"
    )
}

#[test]
fn only_what_is_wholly_the_programs_file_is_given_back() {
    let constants = mapping("55d0c0a00000-55d0c1c00000 r--p 00000000 fe:00 247282                     /usr/bin/corten", 0, 0);
    let code = mapping("55d0c1c00000-55d0c4300000 r-xp 01200000 fe:00 247282                     /usr/bin/corten", 0, 0);
    let both = vec![0x55d0_c0a0_0000..0x55d0_c1c0_0000, 0x55d0_c1c0_0000..0x55d0_c430_0000];
    assert_eq!(clean_parts(&format!("{constants}{code}"), "/usr/bin/corten"), both);

    let relocated = "55d0c4300000-55d0c4600000 r--p 03900000 fe:00 247282                     /usr/bin/corten";
    for other in [
        mapping(relocated, 3072, 0),
        mapping(relocated, 4, 0),
        mapping(relocated, 0, 3072),
        format!("{relocated}\nSize:               2048 kB\nAnonymous:             0 kB\n"),
        mapping("55d0c4600000-55d0c4700000 rw-p 03c00000 fe:00 247282                     /usr/bin/corten", 0, 0),
        mapping("55d0c4600000-55d0c4700000 r--s 03c00000 fe:00 247282                     /usr/bin/corten", 0, 0),
        mapping("55d0c4700000-55d0c4800000 rw-p 00000000 00:00 0                          [heap]", 0, 0),
        mapping("7f6a00000000-7f6a40000000 r--p 00000000 00:00 0", 0, 0),
        mapping("7f6a80000000-7f6a80200000 r-xp 00028000 fe:00 1234                       /usr/lib/libc.so.6", 0, 0),
        mapping("7f6a80200000-7f6a80400000 r-xp 00028000 fe:00 1235                       /usr/bin/corten (deleted)", 0, 0),
        mapping("7f6a80400000-7f6a80600000 r-xp 00028000 fe:00 1236                       /old/usr/bin/corten", 0, 0),
    ] {
        assert_eq!(clean_parts(&format!("{other}{constants}{other}{code}{other}"), "/usr/bin/corten"), both, "{other}");
    }
}

/// Looks every ten seconds, between which so many milliseconds of processor time are used; what came of each.
fn looks(spent: &[u64]) -> Vec<bool> {
    let mut at = Instant::now();
    let mut used = Duration::from_millis(30);
    let mut rest = Rest::new(at, used);
    let look = |spent: &u64| {
        at += Duration::from_secs(10);
        used += Duration::from_millis(*spent);
        rest.look(at, used)
    };
    spent.iter().map(look).collect()
}

#[test]
fn memory_is_given_back_once_after_work() {
    // The start counts, whatever it took.
    assert_eq!(looks(&[20, 20, 20]), [true, false, false]);
    assert_eq!(looks(&[900, 400, 20, 20]), [false, false, true, false]);
    // Work, then quiet; and again.
    assert_eq!(looks(&[0, 800, 200, 0, 5000, 5000, 100, 0]), [true, false, true, false, false, false, true, false]);
    // Small bursts add up.
    assert_eq!(looks(&[0, 300, 0, 0, 300, 0, 0]), [true, false, false, false, false, true, false]);
    // What idling takes never does.
    assert_eq!(looks(&[150; 200]).iter().filter(|given| **given).count(), 1);
}

/// Uses much of the program: tables of text and numbers, pointers to functions and to constants, unwinding.
fn varied() -> String {
    let tree: BTreeMap<String, Vec<f64>> = (0..50_u32).map(|n| (format!("{n:>04}"), vec![f64::from(n).sqrt(); 3])).collect();
    let json = serde_json::to_string_pretty(&tree).unwrap();
    let back: serde_json::Value = serde_json::from_str(&json).unwrap();
    let refused = Cli::try_parse_from(["corten", "server", "--no-such-flag"]).err().map(|error| error.to_string());
    let caught = std::panic::catch_unwind(|| "none".parse::<u32>().unwrap()).is_err();
    let elsewhere = std::thread::spawn(|| format!("{:?}", "10.43.0.0/16".parse::<crate::ranges::ServiceRanges>())).join().unwrap();
    let missing = fs::read_to_string("/no/such/file").unwrap_err();
    format!("{back} {refused:?} {caught} {elsewhere} {missing} {RELOCATED:?}")
}

/// Pointers to constants, which the loader relocates.
static RELOCATED: [&str; 3] = ["one", "two", "three"];

#[test]
fn a_program_goes_on_after_it_gave_memory_back() {
    let program = fs::read_link("/proc/self/exe").unwrap();
    // What has just been built may not be on the disk yet.
    fs::File::open(&program).unwrap().sync_all().unwrap();
    let parts = clean_parts(&fs::read_to_string("/proc/self/smaps").unwrap(), program.to_str().unwrap());
    let data = RELOCATED.as_ptr().addr();
    assert!(!parts.iter().any(|part| part.contains(&data)), "{data:x} in {parts:x?}");
    // A file system in memory has nothing clean.
    let code = (varied as *const ()).addr();
    assert!(parts.is_empty() || parts.iter().any(|part| part.contains(&code)), "{code:x} in {parts:x?}");

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().on_thread_park(at_park).build().unwrap();
    let before = varied();
    let kept: Vec<String> = (0..10_000).map(|n| format!("value {n}")).collect();
    let work = async {
        for _ in 0..3 {
            release(&[runtime.handle().clone()]).await;
            assert_eq!(varied(), before);
            assert_eq!(tokio::spawn(async { varied() }).await.unwrap(), before);
        }
        // Both threads were asked; the one that is asked now has parked since, or will.
        let deadline = Instant::now() + Duration::from_secs(30);
        while tokio::spawn(async { ANSWERED.get() }).await.unwrap() != ASKED.load(Ordering::Relaxed) {
            assert!(Instant::now() < deadline, "a thread that parks gives its memory back");
            // Nothing tells that a thread has parked.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    runtime.block_on(giving_back(&[], work));
    assert!(kept.iter().enumerate().all(|(n, value)| *value == format!("value {n}")));
}

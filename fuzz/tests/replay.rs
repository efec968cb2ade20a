//! The kept inputs, and some thousand deterministic mutations of them, through every target.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;

use corten_fuzz::{
    TARGETS, Target,
    mutate::{Chance, mutate},
};

fn corpora() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The inputs of a target, in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = corpora().join(name);
    let mut files: Vec<PathBuf> = fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", directory.display());
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Runs one input; shows it when the property does not hold.
fn check(target: &Target, data: &[u8]) {
    let run = target.run;
    if catch_unwind(|| run(data)).is_err() {
        panic!("{}: does not hold for this input; keep it in corpus/{}:\nb\"{}\"", target.name, target.name, data.escape_ascii());
    }
}

fn replay(part: usize) {
    // Two halves, so that both cores of a small machine are used.
    for target in TARGETS.iter().skip(part).step_by(2) {
        let inputs = corpus(target.name);
        inputs.iter().for_each(|data| check(target, data));
        let mut chance = Chance::of(target.name);
        for _ in 0..target.mutations {
            check(target, &mutate(&inputs, target.words, &mut chance));
        }
    }
}

#[test]
fn targets_hold_for_kept_inputs_and_their_mutations_1() {
    replay(0);
}

#[test]
fn targets_hold_for_kept_inputs_and_their_mutations_2() {
    replay(1);
}

#[test]
fn every_corpus_has_its_target_and_program() {
    let kept: BTreeSet<String> = fs::read_dir(corpora()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(kept, targets);
    let programs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    for name in targets {
        assert!(programs.join(format!("{name}.rs")).is_file(), "no program for cargo-fuzz: {name}");
    }
}

#[test]
fn mutations_are_the_same_in_every_run() {
    let inputs = [b"{\"a\":1}".to_vec(), b"[]".to_vec()];
    let make = || {
        let mut chance = Chance::of("x");
        (0..50).map(|_| mutate(&inputs, &["null"], &mut chance)).collect::<Vec<_>>()
    };
    assert_eq!(make(), make());
    assert!(make().iter().collect::<BTreeSet<_>>().len() > 30);
}

//! A test program as wasm: what runs it (tests/wasm/run.mjs) asks for the tests' names and then for
//! one test at a time, for the first that panics is the end of an instance.

#![allow(unreachable_pub, reason = "exported")]

extern crate test;

use std::sync::OnceLock;

use test::{TestDescAndFn, TestFn};
use wasm_bindgen::prelude::wasm_bindgen;

type Test = fn() -> Result<(), String>;

static TESTS: OnceLock<Vec<(&'static str, Test)>> = OnceLock::new();

/// The program's `main` calls it with every test.
pub(crate) fn keep(tests: &[&TestDescAndFn]) {
    let known = tests.iter().map(|test| match (test.desc.name.as_slice(), &test.testfn) {
        (name, TestFn::StaticTestFn(run)) => (String::leak(name.to_owned()) as &str, *run),
        (name, _) => panic!("{name} is no plain test"),
    });
    TESTS.get_or_init(|| known.collect());
}

fn tests() -> &'static [(&'static str, Test)] {
    TESTS.get().map_or(&[], Vec::as_slice)
}

/// Names of all tests.
#[wasm_bindgen(js_name = testNames)]
pub fn test_names() -> Vec<String> {
    console_error_panic_hook::set_once();
    tests().iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// Runs the test of that place in the list; a failure traps.
#[wasm_bindgen(js_name = runTest)]
pub fn run_test(index: usize) {
    if let Err(error) = tests()[index].1() {
        panic!("{error}");
    }
}

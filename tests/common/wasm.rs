//! Test harness of a wasm test program. tests/wasm/run.mjs reads the names of the tests and runs
//! them one by one, because a panic ends the instance.

#![allow(unreachable_pub, reason = "exported to JavaScript")]

extern crate test;

use std::sync::OnceLock;

use test::{TestDescAndFn, TestFn};
use wasm_bindgen::prelude::wasm_bindgen;

type Test = fn() -> Result<(), String>;

static TESTS: OnceLock<Vec<(&'static str, Test)>> = OnceLock::new();

/// Registers all tests. The program's `main` calls it.
pub(crate) fn register(tests: &[&TestDescAndFn]) {
    let tests = tests.iter().map(|test| match (test.desc.name.as_slice(), &test.testfn) {
        (name, TestFn::StaticTestFn(run)) => (String::leak(name.to_owned()) as &str, *run),
        (name, _) => panic!("{name}: expected a static test function"),
    });
    TESTS.get_or_init(|| tests.collect());
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

/// Runs the test at `index` of the names; a failure traps.
#[wasm_bindgen(js_name = runTest)]
pub fn run_test(index: usize) {
    if let Err(error) = tests()[index].1() {
        panic!("{error}");
    }
}

/** Declarations that are generated from the engine's Rust types; see `tests/typescript`. */

export * from "./generated/options.js";
export type * from "./generated/reports.js";

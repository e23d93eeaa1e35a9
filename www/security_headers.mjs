// The page's content security policy, which allows its own files, wasm, models of the hub and
// nothing else, and the headers that isolate it from other origins, which browsers require for
// threads.

const directives = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src 'self'",
  // The hub redirects downloads to other hosts of its own.
  "connect-src 'self' https://huggingface.co https://*.huggingface.co https://*.hf.co",
  "style-src 'self'",
  "img-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
];

/** The policy for the meta element. */
export const metaPolicy = directives.join("; ");

/** The policy for the header, which can also forbid framing. */
export const headerPolicy = [...directives, "frame-ancestors 'none'"].join("; ");

/** Cross-origin isolation, for the page and its workers' scripts; it works only as headers. */
export const isolation = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

// The page's content security policy: its own files, wasm, and nothing else.

const directives = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src 'self'",
  "connect-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
];

/** For the meta element. */
export const metaPolicy = directives.join("; ");

/** For the header, where framing can be forbidden too. */
export const headerPolicy = [...directives, "frame-ancestors 'none'"].join("; ");

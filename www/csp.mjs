// The page's policies. Its content security policy: its own files, wasm, models of the hub, and nothing else.
// And the isolation from other origins without which a page may have no threads.

const directives = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src 'self'",
  // The hub hands downloads on to hosts of its own.
  "connect-src 'self' https://huggingface.co https://*.huggingface.co https://*.hf.co",
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

/** For headers alone, of the page and of its workers' scripts. */
export const isolation = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

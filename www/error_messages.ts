/** Turns error codes into messages a visitor can act on. */

import { TabLMError, type ErrorCode } from "tablm";

const TITLES: Partial<Record<ErrorCode, string>> = {
  "no-gpu": "This browser offers no WebGPU adapter.",
  "gpu-too-small": "This GPU is too small for the model.",
  "device-lost": "The GPU was lost, perhaps to sleep or a driver restart.",
  "out-of-memory": "There is not enough memory for the model.",
  "unknown-architecture": "This kind of model is not supported.",
  "unsupported-format": "The model uses a format that is not supported.",
  "missing-tensors": "The model file lacks parts it needs.",
  malformed: "What was downloaded is not a model.",
  network: "The model could not be downloaded.",
  integrity: "The model arrived damaged.",
  "storage-full": "There is no room to store the model.",
  "context-full": "This conversation is longer than the model can remember. Start a new chat.",
  "invalid-request": "The request was refused.",
};

/** Returns a title and the details of an error. */
export function describeError(error: unknown): { title: string; detail: string } {
  if (!(error instanceof TabLMError))
    return { title: "Something went wrong.", detail: String(error) };
  return {
    title: TITLES[error.code] ?? "Something went wrong in the engine.",
    detail: `${error.code}: ${error.message}`,
  };
}

// llama.cpp, natively, through node-llama-cpp's prebuilt binaries, in a separate process.

import { fork } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { modelPath as defaultModel, readPrompt } from "../model.mjs";
import { installPeers } from "../peers.mjs";

const ICD_FOLDERS = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];

/** Returns environment variables that select Mesa's software adapter, if there is no GPU. */
function softwareAdapterEnv() {
  if (["/dev/dri/renderD128", "/dev/nvidia0"].some((path) => existsSync(path))) return {};
  for (const folder of ICD_FOLDERS.filter((path) => existsSync(path))) {
    const file = readdirSync(folder).find((name) => name.startsWith("lvp_icd"));
    if (file) return { VK_ICD_FILENAMES: join(folder, file), GGML_VK_VISIBLE_DEVICES: "0" };
  }
  return {};
}

/** Returns a function that resolves to the process's next message; rejects if the process ends. */
function messagesOf(child) {
  let waiting;
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text) => (errors = (errors + text).slice(-1000)));
  child.on("message", (message) => {
    if (message.error) waiting?.reject(new Error(message.error));
    else waiting?.resolve(message);
  });
  child.on("exit", (status, signal) => {
    const last = errors.trim().split("\n").at(-1);
    waiting?.reject(new Error(`llama.cpp's process ended (${signal ?? status}): ${last}`));
  });
  return () => new Promise((resolve, reject) => (waiting = { resolve, reject }));
}

/** Opens a session on the CPU or on the Vulkan adapter; `prompt` is a list of token ids. */
export async function llamacpp({ gpu, threads, modelPath = defaultModel, prompt }) {
  await installPeers();
  const ids = prompt ?? readPrompt().ids;
  const program = join(import.meta.dirname, "llamacpp_process.mjs");
  const child = fork(program, [JSON.stringify({ gpu, threads, modelPath })], {
    env: { ...process.env, ...(gpu ? softwareAdapterEnv() : {}) },
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  const next = messagesOf(child);
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const close = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await ended;
  };
  try {
    const { device, release, loadMs } = await next();
    const run = async ({ promptTokens, generateTokens }) => {
      child.send({ ids: ids.slice(0, promptTokens), generateTokens });
      return { ...(await next()), loadMs };
    };
    const notes = [
      "llama.cpp runs through node-llama-cpp, whose overhead per token is included: " +
        "llama-bench decodes faster",
    ];
    return { device: `${device}, llama.cpp ${release}`, notes, run, close };
  } catch (error) {
    await close();
    throw error;
  }
}

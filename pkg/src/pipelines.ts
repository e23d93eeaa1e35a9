/**
 * Pipelines compiled before the engine asks for them, on processors that nobody else wants: asked for
 * equal ones later, the browser has them.
 */

import { EXTRA_FEATURES } from "./adapter.js";

/** What this file needs of WebGPU's types, which the DOM library lacks. */
interface Device {
  createShaderModule(descriptor: { code: string }): object;
  createBindGroupLayout(descriptor: { entries: object[] }): object;
  createPipelineLayout(descriptor: { bindGroupLayouts: object[] }): object;
  createComputePipelineAsync(descriptor: object): Promise<object>;
}

interface Adapter {
  features: ReadonlySet<string>;
  requestDevice(descriptor?: { requiredFeatures?: readonly string[] }): Promise<Device>;
}

/** A pipeline as the engine describes it. */
interface PipelineText {
  label: string;
  code: string;
  constants: Record<string, number>;
  /** The buffer types of each bind group. */
  groups: string[][];
}

/** `GPUShaderStage.COMPUTE`. */
const GPU_COMPUTE = 4;

/** The device that the engine opened last. */
let device: Device | undefined;
/** What was begun, by its text: a browser forgets what nobody holds. */
const begun = new Map<string, Promise<object>>();
/** What waits for its turn. */
const waiting: (() => void)[] = [];
let compiling = 0;
let compilingMax = Infinity;

/** The engine's GPU library opens the device: note which, and ask for the features that it does not know. */
export function noteDevices(): void {
  const { GPUAdapter } = globalThis as { GPUAdapter?: { prototype: Adapter } };
  if (!GPUAdapter) return;
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = async function (descriptor) {
    const extra = EXTRA_FEATURES.filter((feature) => this.features.has(feature));
    const requiredFeatures = [...(descriptor?.requiredFeatures ?? []), ...extra];
    device = await requestDevice.call(this, { ...descriptor, requiredFeatures });
    return device;
  };
}

function goOn(): void {
  while (compiling < compilingMax && waiting.length > 0) {
    compiling += 1;
    waiting.shift()?.();
  }
}

/** Lets only so many pipelines be compiled at a time from now on. */
export function compileAtMost(count: number): void {
  compilingMax = count;
  goOn();
}

async function inTurn<T>(job: () => Promise<T>): Promise<T> {
  await new Promise<void>((resolve) => {
    waiting.push(resolve);
    goOn();
  });
  try {
    return await job();
  } finally {
    compiling -= 1;
    goOn();
  }
}

/** Compiles what the engine will ask for. A failure is met, and reported, when it does. */
export async function compileAhead(json: string): Promise<void> {
  const opened = device;
  if (!opened) return;
  const modules = new Map<string, object>();
  const compile = ({ label, code, constants, groups }: PipelineText): Promise<object> => {
    const module = modules.get(code) ?? opened.createShaderModule({ code });
    modules.set(code, module);
    const entries = (types: string[]): object[] =>
      types.map((type, binding) => ({ binding, visibility: GPU_COMPUTE, buffer: { type } }));
    const bindGroupLayouts = groups.map((types) =>
      opened.createBindGroupLayout({ entries: entries(types) }),
    );
    const layout = opened.createPipelineLayout({ bindGroupLayouts });
    return opened.createComputePipelineAsync({
      label,
      layout,
      compute: { module, entryPoint: "main", constants },
    });
  };
  const all = (JSON.parse(json) as PipelineText[]).map((text) => {
    const key = JSON.stringify(text);
    const pipeline = begun.get(key) ?? inTurn(() => compile(text));
    begun.set(key, pipeline);
    return pipeline;
  });
  await Promise.allSettled(all);
}

/** Lets go of what was compiled: the engine has its own by now, or there is no engine. */
export function forgetPipelines(): void {
  begun.clear();
  waiting.length = 0;
  device = undefined;
}

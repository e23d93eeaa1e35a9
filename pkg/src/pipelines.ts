/** Pipelines compiled beside the upload, all at once: asked for equal ones later, the browser has them. */

/** What this file needs of WebGPU's types, which the DOM library lacks. */
interface Device {
  createShaderModule(descriptor: { code: string }): object;
  createBindGroupLayout(descriptor: { entries: object[] }): object;
  createPipelineLayout(descriptor: { bindGroupLayouts: object[] }): object;
  createComputePipelineAsync(descriptor: object): Promise<object>;
}

interface Adapter {
  requestDevice(descriptor?: object): Promise<Device>;
}

/** A pipeline as the engine describes it. */
interface PipelineText {
  label: string;
  code: string;
  constants: Record<string, number>;
  /** The buffer types of each bind group. */
  groups: string[][];
}

/** The device that the engine opened last. */
let device: Device | undefined;
/** What was compiled: a browser forgets what nobody holds. */
const kept = new Set<object>();

/** The engine's GPU library opens the device: note which. */
export function noteDevices(): void {
  const { GPUAdapter } = globalThis as { GPUAdapter?: { prototype: Adapter } };
  if (!GPUAdapter) return;
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = async function (descriptor) {
    device = await requestDevice.call(this, descriptor);
    return device;
  };
}

/** Compiles what the engine will ask for. A failure is met, and reported, when it does. */
export async function compileAhead(json: string): Promise<void> {
  const opened = device;
  if (!opened) return;
  const modules = new Map<string, object>();
  const compile = ({ label, code, constants, groups }: PipelineText): Promise<object> => {
    const module = modules.get(code) ?? opened.createShaderModule({ code });
    modules.set(code, module);
    const entries = (types: string[]): object[] => types.map((type, binding) => ({ binding, visibility: GPU_COMPUTE, buffer: { type } }));
    const bindGroupLayouts = groups.map((types) => opened.createBindGroupLayout({ entries: entries(types) }));
    const layout = opened.createPipelineLayout({ bindGroupLayouts });
    return opened.createComputePipelineAsync({ label, layout, compute: { module, entryPoint: "main", constants } });
  };
  const done = await Promise.allSettled((JSON.parse(json) as PipelineText[]).map(compile));
  for (const result of done) if (result.status === "fulfilled") kept.add(result.value);
}

/** `GPUShaderStage.COMPUTE`. */
const GPU_COMPUTE = 4;

/** Lets go of what was compiled: the engine has its own by now. */
export function forgetPipelines(): void {
  kept.clear();
  device = undefined;
}

/** Memory that a model may take on this device, as far as the browser tells. */

/** Bytes of memory to assume where the browser does not tell: those of a small phone. */
const ASSUMED_DEVICE_BYTES = 4 * 2 ** 30;

/** Bytes that a model may take: half of the device's memory. */
export function modelMemoryBytes(): number {
  const { deviceMemory } = globalThis.navigator as { deviceMemory?: number };
  return (deviceMemory ? deviceMemory * 2 ** 30 : ASSUMED_DEVICE_BYTES) / 2;
}

/** Access to the elements of index.html. */

/** Returns the element with that id; throws if index.html has none. */
export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html: id ${id}: found no element, expected one`);
  return found as T;
}

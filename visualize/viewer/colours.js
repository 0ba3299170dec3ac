// Decides nothing: gives the tables of colours that Python sent, decoded once per scene.

/** @type {WeakMap<Scene, Map<string, Uint8Array>>} */
const decoded = new WeakMap();

/**
 * @param {Scene} scene
 * @param {string} name
 * @returns {Uint8Array} 256 × 3
 */
export function coloursOf(scene, name) {
  const tables = decoded.get(scene) ?? new Map();
  decoded.set(scene, tables);
  const table = tables.get(name) ?? Uint8Array.from(atob(scene.tables[name]), (letter) => letter.charCodeAt(0));
  tables.set(name, table);
  return table;
}

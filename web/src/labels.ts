/** Which titles the map writes: few of the whole map, more of a part, without one over another. */

import type { Place } from "./plot";

export const SIGN = 6.3; // pixels of the width of a sign
const HEIGHT = 15; // pixels of a line
const LONGEST = 26; // signs
const WIDEST = 190; // pixels of a cell of the whole map; in a part of it, cells are smaller
const NARROWEST = 96;
const MOST = 80; // labels at once

export interface Box {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

/** Return a title as a label shows it. */
export function cut(title: string): string {
  return title.length > LONGEST ? `${title.slice(0, LONGEST - 1)}…` : title;
}

/** Return where a label lies whose point is at a pixel. */
export function boxOf([x, y]: Place, title: string): Box {
  const half = (cut(title).length * SIGN) / 2;
  return { left: x - half, right: x + half, top: y - HEIGHT - 5, bottom: y - 4 };
}

export function overlap(a: Box, b: Box): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

/**
 * Return rows whose titles are worth a label in a view, the most important first: in each cell of a grid the most
 * popular point, or, without figures of popularity, the one nearest to the middle of the cell's points.
 *
 * The grid lies in the plane and not in the window, so that labels stay when the view is moved.
 */
export function candidates(
  coordinates: Float32Array,
  popularity: Float32Array | null,
  corner: Place,
  opposite: Place,
  pixels: number,
): number[] {
  const [left, right] = [Math.min(corner[0], opposite[0]), Math.max(corner[0], opposite[0])];
  const [low, high] = [Math.min(corner[1], opposite[1]), Math.max(corner[1], opposite[1])];
  const zoom = Math.max(1, 2 / (right - left));
  const wanted = (Math.max(NARROWEST, WIDEST / Math.sqrt(zoom)) / pixels) * (right - left);
  const size = 2 ** (Math.round(2 * Math.log2(wanted)) / 2); // in steps, so that a little zoom keeps the grid
  const cells = new Map<number, { rows: number[]; x: number; y: number }>();
  for (let row = 0; row < coordinates.length / 2; row++) {
    const [x, y] = [coordinates[2 * row]!, coordinates[2 * row + 1]!];
    if (x < left || x > right || y < low || y > high) continue;
    const key = Math.floor(x / size) * 65_536 + Math.floor(y / size);
    const cell = cells.get(key);
    if (cell) {
      cell.rows.push(row);
      cell.x += x;
      cell.y += y;
    } else cells.set(key, { rows: [row], x, y });
  }
  const chosen = [...cells.values()].map((cell) => {
    const [x, y] = [cell.x / cell.rows.length, cell.y / cell.rows.length];
    const worth = (row: number) =>
      popularity?.[row] ?? -((coordinates[2 * row]! - x) ** 2 + (coordinates[2 * row + 1]! - y) ** 2);
    let best = cell.rows[0]!;
    for (const row of cell.rows) if (worth(row) > worth(best)) best = row;
    return { row: best, weight: popularity?.[best] ?? cell.rows.length };
  });
  return chosen.sort((a, b) => b.weight - a.weight || a.row - b.row).slice(0, MOST).map((one) => one.row);
}

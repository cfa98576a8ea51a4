/** The text of an answer: titles become links, and words are shaded by what they depend on. */

import type { Entity } from "./api";
import { el } from "./dom";
import type { Influence } from "./stream";

/** Return a text with links in place of titles, and the entities whose titles it spells in another way. */
export function linked<E extends Entity>(
  text: string,
  entities: E[],
  link: (entity: E, words: string) => Node,
): { nodes: (Node | string)[]; rest: E[] } {
  const spans: { start: number; end: number; entity: E }[] = [];
  // A longer title first: it may hold a shorter one.
  for (const entity of [...entities].sort((a, b) => b.title.length - a.title.length)) {
    const { length } = entity.title;
    if (!length) continue;
    for (let start = text.indexOf(entity.title); start >= 0; start = text.indexOf(entity.title, start + length)) {
      const end = start + length;
      if (spans.every((span) => end <= span.start || start >= span.end)) spans.push({ start, end, entity });
    }
  }
  const rest = entities.filter((entity) => spans.every((span) => span.entity !== entity));
  spans.sort((a, b) => a.start - b.start);
  const nodes: (Node | string)[] = [];
  let at = 0;
  for (const { start, end, entity } of spans) {
    nodes.push(text.slice(at, start), link(entity, text.slice(start, end)));
    at = end;
  }
  nodes.push(text.slice(at));
  return { nodes, rest };
}

/** Return the tokens of an answer; the more the vectors make a token likely, the darker its ground. */
export function shaded(influence: Influence): Node[] {
  const slots = Object.entries(influence.values);
  return influence.tokens.map((token, place) => {
    const values = slots.map(([, numbers]) => numbers[place] ?? 0);
    const strongest = Math.max(0, ...values);
    const words = slots.map(([slot], i) => `${slot}: ${values[i]!.toFixed(2)}`).join(", ");
    const span = el("span", { title: `log-likelihood gained from the vector: ${words}` }, token);
    const share = Math.round(Math.min(1, strongest / 4) * 45);
    if (share > 2) span.style.background = `color-mix(in srgb, var(--accent) ${share}%, transparent)`;
    return span;
  });
}

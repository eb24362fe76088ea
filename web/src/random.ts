/** Numbers that look random and are the same for a seed (mulberry32). */

export type Random = () => number;

export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

export const below = (random: Random, count: number): number => Math.floor(random() * count);

/** The first `count` of the values in an order that is drawn. */
export function chosen<T>(random: Random, values: readonly T[], count: number): T[] {
  const deck = [...values];
  for (let place = 0; place < count; place++) {
    const other = place + below(random, deck.length - place);
    [deck[place], deck[other]] = [deck[other], deck[place]];
  }
  return deck.slice(0, count);
}

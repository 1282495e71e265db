// Waiting for a condition, never for a duration: every wait ends as soon as its condition holds, and fails at its
// deadline with what it waited for and what it saw last.

import { setTimeout as pause } from 'node:timers/promises'

// A binary under a sanitizer is several times slower; deadlines grow with it.
export const SLOWNESS = /asan|ubsan|tsan/.test(process.env.TIDEGATE ?? '') ? 4 : 1

const POLL_MS = 15
const MOST_POLL_MS = 100

// What is waited for cannot come any more: no use to wait for the deadline.
export class Never extends Error {}

// Calls `look` until it returns something truthy, which is the result. An exception that it throws counts as "not
// yet", and is told when the deadline passes; Never ends the waiting at once.
export async function until(what, look, { seconds = 20 } = {}) {
  const deadline = performance.now() + seconds * 1000 * SLOWNESS // no clock that somebody may set
  for (;;) {
    const began = performance.now()
    let seen
    try {
      seen = await look()
      if (seen) return seen
    } catch (error) {
      if (error instanceof Never) throw new Error(`${what}: ${error.message}`)
      seen = error
    }
    if (performance.now() > deadline) {
      const text = seen instanceof Error ? seen.message : JSON.stringify(seen)
      throw new Error(`not within ${seconds * SLOWNESS} s: ${what} (last seen: ${text})`)
    }
    // Who looks takes at most half of the time: what is waited for may need this very process.
    await pause(Math.min(Math.max(POLL_MS, performance.now() - began), MOST_POLL_MS))
  }
}

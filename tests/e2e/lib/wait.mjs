// Waiting for a condition, never for a duration: every wait ends as soon as its condition holds, and fails at its
// deadline with what it waited for and what it saw last.

import { setTimeout as pause } from 'node:timers/promises'

// A binary under a sanitizer is several times slower; deadlines grow with it.
export const SLOWNESS = /asan|ubsan|tsan/.test(process.env.TIDEGATE ?? '') ? 4 : 1

const POLL_MS = 15

// Calls `look` until it returns something truthy, which is the result. An exception that it throws counts as "not
// yet", and is told when the deadline passes.
export async function until(what, look, { seconds = 20 } = {}) {
  const deadline = Date.now() + seconds * 1000 * SLOWNESS
  for (;;) {
    let seen
    try {
      seen = await look()
      if (seen) return seen
    } catch (error) {
      seen = error
    }
    if (Date.now() > deadline) {
      const text = seen instanceof Error ? seen.message : JSON.stringify(seen)
      throw new Error(`not within ${seconds * SLOWNESS} s: ${what} (last seen: ${text})`)
    }
    await pause(POLL_MS)
  }
}

// Load over several connections, and the account of what was acknowledged: in the end each such event has an outcome.

import { readFileSync } from 'node:fs'

import { keepAlive, send, track } from '../../e2e/lib/sender.mjs'
import { SLOWNESS, until } from '../../e2e/lib/wait.mjs'

const CONNECTIONS = 6

// Park-Miller: moments that can be had again.
export function randoms(seed) {
  let state = seed % 2147483647 || 1
  return (n) => {
    state = (state * 48271) % 2147483647
    return state % n
  }
}

function padded(id, random) {
  return track('Load', { messageId: id, properties: { pad: 'x'.repeat(random(800)) } })
}

// Connections that post batches of random sizes until told to stop. What fails is sent again with the same ids, as SDKs
// do; what is answered 200 is acknowledged. `relay.open` says whether it is there. `make`: the events of an id; `encode`:
// the body of events; `first`: the number of the first connection, so that two loads have different ids.
export class Load {
  constructor(relay, random, { make = padded, encode = (batch) => ({ batch }), connections = CONNECTIONS, first = 0 } = {}) {
    this.relay = relay
    this.random = random
    this.make = make
    this.encode = encode
    this.acknowledged = new Map() // id: its event
    this.batches = 0
    this.refusals = []
    this.stopping = false
    this.agents = Array.from({ length: connections }, () => keepAlive())
    this.done = Promise.all(this.agents.map((agent, i) => this.#run(agent, first + i)))
  }

  async #run(agent, connection) {
    for (let n = 0; !this.stopping; n++) {
      const events = Array.from({ length: 1 + this.random(5) }, (_, i) => this.make(`tk${connection}n${n}i${i}z`, this.random))
      while (!await this.#post(agent, events) && !this.stopping) {
        await until('the relay listens', () => this.stopping || this.relay.open, { seconds: 60 })
      }
    }
  }

  async #post(agent, events) {
    try {
      const answer = await send(this.relay, '/v1/batch', { agent, body: this.encode(events) })
      if (answer.status !== 200) {
        this.refusals.push(answer)
        return false
      }
    } catch {
      return false // cut off by a kill: it may or may not have been taken
    }
    for (const e of events) this.acknowledged.set(e.messageId, e)
    this.batches++
    return true
  }

  // Waits until so many more batches are acknowledged.
  async more(n) {
    const goal = this.batches + n
    await until(`${n} more batches are acknowledged`, () => this.batches >= goal, { seconds: 60 })
  }

  async stop() {
    this.stopping = true
    await this.done
    for (const agent of this.agents) agent.destroy()
  }
}

// Waits until each of `ids` is in `got` (a function that gives a set or map) or a dead letter of the destination.
export async function haveOutcome(relay, ids, got, { destination, seconds = 60 } = {}) {
  await until('every acknowledged event has an outcome', async () => {
    const there = got() // once: it may be made from all that the partner has ever been sent
    let lost = [...ids].filter((id) => !there.has(id))
    if (lost.length === 0) return true
    const dead = await relay.dead(...(destination ? ['--dest', destination] : []))
    const deadIds = new Set(dead.map((d) => d.messageId))
    lost = lost.filter((id) => !deadIds.has(id))
    if (lost.length === 0) return true
    throw new Error(`${lost.length} of ${ids.length ?? ids.size} missing at ${destination ?? 'the partner'}, such as ${lost.slice(0, 5)}`)
  }, { seconds })
}

const MOST_RESIDENT = 96 << 20

// Memory of every worker; a sanitizer's own is not ours to judge.
export async function memoryIsBounded(relay, most = MOST_RESIDENT) {
  if (SLOWNESS > 1) return
  for (const pid of await relay.workerPids()) {
    const resident = Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024
    if (resident > most) throw new Error(`worker ${pid} holds ${resident} bytes`)
  }
}

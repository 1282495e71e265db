// A stand-in of one real partner: it takes and refuses requests by the rules of the partner's documentation. Each
// partner is a class in partners/, whose `take(request)` returns the answer; what it keeps of its own is its own.

import { Partner } from './partner.mjs'
import { until } from './wait.mjs'

export class StandIn extends Partner {
  // Requests by the stand-in's own judgement, each with its `answer`. What a test told it to answer (`script`: a 429, a
  // 500) is in neither list, only among `requests`.
  taken = []
  refused = []

  constructor(options) {
    super(options)
    this.answer = async (request) => {
      const answer = await this.take(request)
      ;(answer.status < 400 ? this.taken : this.refused).push({ ...request, answer })
      return answer
    }
  }
}

export function json(status, body, headers = {}) {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) }
}

// Waits until the relay knows of so many events and the destination is through with all of them. Workers report now and
// then, so the number keeps an older report from passing for this one.
export function settled(relay, name, events) {
  return until(`${name} is through with ${events} events`, async () => {
    const status = await relay.status()
    const known = status.workers.flatMap((w) => w.report.partitions).reduce((sum, p) => sum + p.last, 0)
    const d = status.destinations[name]
    if (known >= events && d.backlog_events === 0 && d.retries === 0 && d.in_flight === 0) return d
    throw new Error(`${known} events known, ${JSON.stringify(d)}`)
  }, { seconds: 60 })
}

// A stand-in of one real partner: it takes and refuses requests by the rules of the partner's documentation. Each
// partner is a class in partners/, whose `take(request)` returns the answer; what it keeps of its own is its own.

import { isDeepStrictEqual } from 'node:util'

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
      const refused = answer.refused ?? answer.status >= 400 // some partners hide a refusal in a 200
      ;(refused ? this.refused : this.taken).push({ ...request, answer })
      return answer
    }
  }
}

export function json(status, body, headers = {}) {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) }
}

export function base64(text) {
  return Buffer.from(text).toString('base64')
}

// A partner's own endpoint for Segment's events: one POST per event, whole and unmapped. The API key is the user of
// Basic auth, with no password; the other settings come as base64 of JSON in a header.
export class EventEndpoint extends StandIn {
  constructor({ apiKey, settings, types, path = '/segment', ...options }) {
    super(options)
    Object.assign(this, { apiKey, settings, types, path })
  }

  get endpoint() {
    return `${this.url}${this.path}`
  }

  take({ method, url, headers, body }) {
    const no = (status, message) => json(status, { message })
    if (method !== 'POST' || url !== this.path) return no(404, `no ${method} ${url} here`)
    if (headers.authorization !== `Basic ${base64(`${this.apiKey}:`)}`) return no(401, 'the API key is invalid or expired')
    if (headers['content-type'] !== 'application/json') return no(400, 'the body must be application/json')
    if (headers['cache-control'] !== 'no-cache' || !headers['content-length']) return no(400, 'a header is missing')
    if (!isDeepStrictEqual(readSettings(headers['x-segment-settings']), this.settings)) return no(400, 'other settings')
    const event = readEvent(body)
    if (!event?.messageId) return no(400, 'the body must be one event')
    return this.types.includes(event.type) ? json(200, {}) : no(501, `${event.type} is not supported`)
  }
}

function readSettings(header) {
  return header === undefined ? undefined : JSON.parse(Buffer.from(header, 'base64').toString())
}

function readEvent(body) {
  try {
    const event = JSON.parse(body)
    return Array.isArray(event) ? undefined : event
  } catch {
    return undefined
  }
}

// Waits until the relay knows of so many events and the destination is through with all of them. Workers report now and
// then, so the number keeps an older report from passing for this one.
export function settled(relay, name, events) {
  return until(`${name} is through with ${events} events`, async () => {
    const status = JSON.parse((await relay.admin('/status')).text) // quicker than a command, and asked often
    const known = status.workers.flatMap((w) => w.report.partitions).reduce((sum, p) => sum + p.last, 0)
    const d = status.destinations[name]
    if (known >= events && d.backlog_events === 0 && d.retries === 0 && d.in_flight === 0) return d
    throw new Error(`${known} events known, ${JSON.stringify(d)}`)
  }, { seconds: 60 })
}

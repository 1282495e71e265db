// Extole: events, erasures and data of persons, as its API reference has them. People are known by e-mail, else by
// partner_user_id, and keep their data; what was erased is gone.

import { randomUUID } from 'node:crypto'

import { json, StandIn } from '../lib/standin.mjs'

const EVENT_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/
const FIRST_PERSON = 7000000000000000001n // int64, beyond what a double holds
const MINUTE = 60_000
const SECOND = 1000

export class Extole extends StandIn {
  // Tokens and what they may do; `expired` ones were good once.
  tokens = new Map([['extole-token', ['events', 'erasures', 'persons']]])
  expired = new Set()
  blocked = new Set() // event names that the account refuses
  perMinute = 100
  personIdsAreNumbers = false
  events = [] // {route, event_name, event_time, data, person}: what was taken, in order
  people = new Map() // person id -> {email, partner_user_id, data: name -> {value, scope}}
  erasures = []
  duplicates = 0 // conversions whose partner_conversion_id was there already
  #conversions = new Set()
  #calls = [] // times of calls on routes with a limit
  #callsOf = new Map() // person id -> times

  take(request) {
    const scope = this.#scopeOf(request.path)
    if (!scope) return failure(404, 'not_found', `no route ${request.path}`)
    return this.#unauthorised(request, scope) ?? this.#overLimit(request) ?? this.#route(request, scope)
  }

  #scopeOf(path) {
    if (/^\/v6\/(async-)?events(\/[^/]+)?$/.test(path)) return 'events'
    if (path === '/v4/erasures') return 'erasures'
    return /^\/v5\/persons\/[^/]+\/data(\/[^/]+)?$/.test(path) ? 'persons' : undefined
  }

  #unauthorised({ headers }, scope) {
    if (!headers.authorization) return failure(403, 'missing_access_token', 'no access token was given')
    const token = /^Bearer (\S+)$/.exec(headers.authorization)?.[1]
    if (this.expired.has(token)) return failure(401, 'expired_access_token', 'the access token has expired')
    const scopes = this.tokens.get(token)
    if (!scopes) return failure(401, 'invalid_access_token', 'the access token is not known')
    return scopes.includes(scope) ? undefined : failure(403, 'scopes_denied', `the token lacks a scope for ${scope}`)
  }

  // The asynchronous route has no limit.
  #overLimit({ path, at }) {
    if (path.startsWith('/v6/async-events')) return undefined
    this.#calls = this.#calls.filter((t) => t > at - MINUTE)
    if (this.#calls.length >= this.perMinute) return failure(429, 'too_many_requests', 'more than 100 requests per minute')
    this.#calls.push(at)
    return undefined
  }

  #route(request, scope) {
    if (!(request.headers['content-type'] ?? '').startsWith('application/json')) {
      return failure(415, 'unsupported_media_type', 'only application/json')
    }
    let body
    try {
      body = JSON.parse(request.body)
    } catch {
      return failure(400, 'invalid_json', 'the body is not JSON')
    }
    if (scope === 'persons') return this.#personData(request, body)
    if (request.method !== 'POST') return failure(405, 'method_not_allowed', request.method)
    return scope === 'events' ? this.#event(request, body) : this.#erase(body)
  }

  #event({ path, at }, body) {
    const [, , route, named] = path.split('/')
    if (named) {
      this.events.push({ route, event_name: decodeURIComponent(named), data: body })
      return json(200, { event_id: randomUUID() })
    }
    const { event_name: name, event_time: time, data, ...more } = body
    if (typeof name !== 'string' || !name) return failure(400, 'missing_event_name', 'event_name is required')
    if (typeof time !== 'string' || !EVENT_TIME.test(time)) return failure(400, 'invalid_event_time_format', String(time))
    if (data === null || typeof data !== 'object' || Array.isArray(data) || Object.keys(more).length) {
      return failure(400, 'validation_error', 'a body has event_name, event_time and data, an object')
    }
    if (this.blocked.has(name)) return failure(400, 'event_blocked', `${name} is blocked`)
    const person = this.#identify(data)
    if (route === 'events' && !this.#withinPersonLimit(person, at)) {
      return failure(429, 'too_many_requests', 'more than 10 requests per second for one person')
    }
    this.#process({ route, event_name: name, event_time: time, data, person })
    return route === 'async-events' ? json(200, { event_id: randomUUID() })
      : { ...json(200, {}), body: `{"event_id":"${randomUUID()}","person_id":${this.#shown(person)}}` }
  }

  #shown(person) {
    return this.personIdsAreNumbers ? person : JSON.stringify(person)
  }

  #process(event) {
    const id = event.event_name === 'conversion' && event.data.partner_conversion_id
    if (id && this.#conversions.has(id)) {
      this.duplicates++
      return
    }
    if (id) this.#conversions.add(id)
    this.events.push(event)
  }

  // The person that the data is about: by e-mail, else by the partner's id; a new one when there is none.
  #identify({ email, partner_user_id: partnerId }) {
    const found = this.#find('email', email) ?? this.#find('partner_user_id', partnerId)
    const id = found ?? String(FIRST_PERSON + BigInt(this.people.size))
    const person = this.people.get(id) ?? { data: new Map() }
    if (email) person.email = email
    if (partnerId) person.partner_user_id = partnerId
    this.people.set(id, person)
    return id
  }

  #find(key, value) {
    if (!value) return undefined
    for (const [id, person] of this.people) {
      if (person[key] === value) return id
    }
    return undefined
  }

  #withinPersonLimit(person, at) {
    const calls = (this.#callsOf.get(person) ?? []).filter((t) => t > at - SECOND)
    this.#callsOf.set(person, [...calls, at])
    return calls.length < 10
  }

  #erase(body) {
    const { partner_user_id: partnerId, email, note, ...more } = body
    if (Object.keys(more).length) return failure(400, 'validation_error', `unknown: ${Object.keys(more)}`)
    if (!partnerId && !email) return failure(400, 'empty_request', 'partner_user_id or email is required')
    if (email !== undefined && !/^\S+@\S+$/.test(email)) return failure(400, 'invalid_erasure_email', String(email))
    const id = this.#find('partner_user_id', partnerId) ?? this.#find('email', email)
    if (!id) return failure(404, 'person_not_found', 'no such person')
    this.people.delete(id)
    this.erasures.push(body)
    return json(200, { id: randomUUID(), status: 'PENDING', note, created_date: new Date().toISOString() })
  }

  #personData({ method, path }, { name, value, scope = 'PRIVATE' }) {
    const [, , , id, , inPath] = path.split('/').map(decodeURIComponent)
    const person = this.people.get(id)
    if (!person) return failure(404, 'person_not_found', id)
    if (value === undefined) return failure(400, 'validation_error', 'value is required')
    if (method === 'POST' && inPath === undefined && typeof name === 'string' && name) {
      if (person.data.has(name)) return failure(400, 'data_already_exists', name)
      person.data.set(name, { value, scope })
    } else if (method === 'PUT' && person.data.has(inPath)) {
      person.data.set(inPath, { value, scope })
    } else {
      return failure(400, 'validation_error', `${method} ${path}`)
    }
    return json(200, { name: name ?? inPath, value, scope })
  }
}

export function failure(status, code, message) {
  return json(status, { unique_id: randomUUID(), http_status_code: status, code, message, parameters: {} })
}

// Emarsys: contacts and external events of the Suite API, v2 (WSSE) and v3 (bearer tokens of its own token endpoint).
// Contacts are kept per key field, a trigger needs its contact, a trigger_id counts once.

import { createHash, randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'

import { json, StandIn } from '../lib/standin.mjs'

const SKEW_MS = 5 * 60_000
const MINUTE = 60_000
const MAX_CONTACTS = 1000
const MAX_UPSERT = 8_000_000 // bytes
const MAX_PAYLOAD = 1_000_000 // bytes
const EVENT_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z$/
const WSSE = /^UsernameToken Username="([^"]*)", PasswordDigest="([^"]*)", Nonce="([0-9a-f]{32})", Created="([^"]*)"$/

// Base64 of the hexadecimal text of the SHA-1, not of its bytes.
export function wsseDigest(nonce, created, secret) {
  const hex = createHash('sha1').update(nonce + created + secret).digest('hex')
  return Buffer.from(hex).toString('base64')
}

export class Emarsys extends StandIn {
  users = new Map([['customer001', 'customersecret']])
  clients = new Map([['client-1', 'client-secret-1']])
  tokenSeconds = 3600
  perMinute = 1000
  lists = new Map() // id -> Set of contact keys
  connected = new Set() // event ids that start a program
  gone = new Set() // contact keys that a trigger does not find
  keyFields = new Set(['3', '600', 'id', 'uid'])
  nameOf = (key) => key // by which it tells the error of a contact
  latencyMs = 0 // how long an upsert takes
  contacts = new Map() // `${key_id}/${key}` -> fields
  upserts = [] // numbers of contacts of each call
  triggers = [] // {event, key, data, time, trigger, attachment}, each trigger_id once
  repeated = 0 // triggers whose trigger_id was there already
  races = 0 // calls for a new contact while another was creating it
  tokensGiven = 0
  takesTokens = true
  nonces = new Set()
  noncesRepeated = 0
  #tokens = new Map() // token -> end, ms
  #creating = new Map() // contact -> the call that creates it
  #triggerIds = new Set()
  #calls = new Map() // account -> times

  take(request) {
    if (request.path === '/oauth/token') return this.#token(request)
    const [, version, route] = /^\/api\/(v[23])(\/.*)$/.exec(request.path) ?? []
    if (!version) return reply(404, 404, 'Not Found')
    const account = version === 'v2' ? this.#wsse(request) : this.#bearer(request)
    if (!account) return reply(401, 1, 'Unauthorized')
    const limits = this.#count(account, request.at)
    if (limits.over) return { ...reply(429, 1, 'Too Many Requests'), headers: limits.headers }
    return this.#api(request, route, limits.headers)
  }

  revokeTokens() {
    this.#tokens.clear()
  }

  async #api(request, route, headers) {
    const answer = await this.#route(request, route)
    return { ...answer, headers: { ...answer.headers, ...headers } }
  }

  #wsse({ headers, at }) {
    const [, user, digest, nonce, created] = WSSE.exec(headers['x-wsse'] ?? '') ?? []
    const secret = this.users.get(user)
    if (!secret || headers.authorization) return undefined
    if (this.nonces.has(nonce)) {
      this.noncesRepeated++
      return undefined
    }
    this.nonces.add(nonce)
    const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?(Z|\+00:00)$/.test(created) ? Date.parse(created) : NaN
    return Math.abs(at - time) <= SKEW_MS && digest === wsseDigest(nonce, created, secret) ? user : undefined
  }

  #bearer({ headers, at }) {
    const token = /^Bearer (\S+)$/.exec(headers.authorization ?? '')?.[1]
    return this.takesTokens && !headers['x-wsse'] && this.#tokens.get(token) > at ? 'v3' : undefined
  }

  #token({ method, headers, body, at }) {
    const form = Object.fromEntries(new URLSearchParams(body))
    const [id, secret] = headers.authorization?.startsWith('Basic ')
      ? Buffer.from(headers.authorization.slice(6), 'base64').toString().split(':')
      : [form.client_id, form.client_secret]
    if (method !== 'POST' || headers['content-type'] !== 'application/x-www-form-urlencoded'
      || form.grant_type !== 'client_credentials') return json(400, { error: 'unsupported_grant_type' })
    if (!id || this.clients.get(id) !== secret) return json(401, { error: 'invalid_client' })
    const token = `token-${++this.tokensGiven}-${randomUUID()}`
    this.#tokens.set(token, at + this.tokenSeconds * 1000)
    return json(200, { access_token: token, token_type: 'bearer', expires_in: this.tokenSeconds })
  }

  #count(account, at) {
    const calls = (this.#calls.get(account) ?? []).filter((t) => t > at - MINUTE)
    const over = calls.length >= this.perMinute
    if (!over) calls.push(at)
    this.#calls.set(account, calls)
    return {
      over,
      headers: {
        'content-type': 'application/json',
        'x-ratelimit-limit': this.perMinute,
        'x-ratelimit-remaining': this.perMinute - calls.length,
        'x-ratelimit-reset': Math.ceil((calls[0] + MINUTE) / 1000),
      },
    }
  }

  #route(request, route) {
    if (request.headers['content-type'] !== 'application/json') return reply(400, 1010, 'Invalid Content-Type')
    let body
    try {
      body = JSON.parse(request.body)
    } catch {
      return reply(400, 1010, 'Invalid JSON')
    }
    if (request.method === 'PUT' && /^\/contact\/?$/.test(route)) return this.#upsert(request, body)
    const [, event] = /^\/event\/([1-9]\d*)\/trigger$/.exec(route) ?? []
    if (request.method === 'POST' && event) return this.#trigger(event, body)
    const [, list] = /^\/contactlist\/(\d+)\/add\/?$/.exec(route) ?? []
    if (request.method === 'POST' && list) return this.#addToList(list, body)
    return reply(404, 404, 'Not Found')
  }

  async #upsert({ url, body: bytes }, body) {
    const creates = new URL(url, 'http://stand-in').searchParams.get('create_if_not_exists') === '1'
    const { key_id: keyId, contacts, contact_list_id: list, ...more } = body
    if (Object.keys(more).length || !isKeyId(keyId) || !Array.isArray(contacts) || !contacts.length) {
      return reply(400, 1010, 'key_id and contacts are required')
    }
    if (Buffer.byteLength(bytes) > MAX_UPSERT) return reply(413, 1, 'Request Entity Too Large')
    if (contacts.length > MAX_CONTACTS) return reply(400, 1000, 'The maximum number of contacts is 1000')
    if (list !== undefined && !(Number.isInteger(list) && this.lists.has(String(list)))) {
      return reply(200, 2020, 'Invalid contact list id')
    }
    this.upserts.push(contacts.length)
    if (!this.keyFields.has(String(keyId))) {
      return ok({ ids: [], errors: { '<NO_KEY_ID>': { 2004: `Invalid key field id: ${keyId}` } } })
    }
    const work = contacts.map((fields) => this.#begin(String(keyId), fields, creates, body))
    if (this.latencyMs) await pause(this.latencyMs)
    return this.#finish(work, list)
  }

  // What is to become of one contact: {key, error} or {key, at, fields, isNew}.
  #begin(keyId, fields, creates, call) {
    const key = fields?.[keyId]
    const error = wrongKey(key) ?? wrongField(fields)
    if (error) return { key: key || '<NO_KEY_ID>', error }
    const at = `${keyId}/${key}`
    if (this.contacts.has(at)) return { key, at, fields }
    if (!creates) return { key, error: { 2008: `No contact found with the external id: ${keyId}` } }
    if (this.#creating.has(at) && this.#creating.get(at) !== call) {
      this.races++
      return { key, error: { 2009: `Contact with the external id already exists: ${keyId}` } }
    }
    this.#creating.set(at, call)
    return { key, at, fields, isNew: true }
  }

  #finish(work, list) {
    const ids = []
    const errors = {}
    for (const { key, error, at, fields, isNew } of work) {
      if (error) {
        errors[this.nameOf(key)] = error
        continue
      }
      this.#creating.delete(at)
      this.contacts.set(at, { ...this.contacts.get(at), ...fields })
      if (list !== undefined) this.lists.get(String(list)).add(key)
      ids.push(isNew ? this.contacts.size : String(this.contacts.size))
    }
    return ok({ ids, ...(Object.keys(errors).length ? { errors } : {}) })
  }

  #trigger(event, body) {
    const { key_id: keyId, contacts, external_id: one, ...more } = body
    const isBatch = contacts !== undefined
    const items = isBatch ? contacts : [{ external_id: one, ...more }]
    if (!isKeyId(keyId) || !Array.isArray(items) || !items.length || (isBatch && (one !== undefined || Object.keys(more).length))) {
      return reply(400, 1010, 'a trigger has key_id and either external_id or contacts')
    }
    if (items.length > MAX_CONTACTS) return reply(400, 1000, 'The maximum number of contacts is 1000')
    if (!this.connected.has(event)) return reply(400, 5001, 'No program or campaign is triggered')
    const outcomes = items.map((item) => [item, this.#triggerOne(event, String(keyId), item)])
    if (!isBatch) return outcomes[0][1] ? reply(...outcomes[0][1]) : ok({})
    const failed = outcomes.filter(([, error]) => error)
    const errors = Object.fromEntries(failed.map(([item, [, code, text]]) => [item?.external_id || '<NO_KEY_ID>', { [code]: text }]))
    return ok({ ids: outcomes.filter(([, error]) => !error).map(([item]) => item.external_id), errors })
  }

  // [status, code, text] of what is wrong with it; nothing when it is taken.
  #triggerOne(event, keyId, { external_id: key, data, trigger_id: trigger, event_time: time, attachment, ...more }) {
    if (Object.keys(more).length) return [400, 1010, `unknown: ${Object.keys(more)}`]
    if (!key) return [400, 2005, 'No value provided for key field']
    if (data === null || typeof data !== 'object' || Array.isArray(data)) return [400, 1010, 'data must be an object']
    if (Buffer.byteLength(JSON.stringify(data)) > MAX_PAYLOAD) return [400, 1010, 'payload too large']
    if (typeof time !== 'string' || !EVENT_TIME.test(time)) return [400, 1010, `event_time: ${time}`]
    if (typeof trigger !== 'string' || !trigger) return [400, 1010, 'trigger_id']
    if (attachment !== undefined && !isAttachment(attachment)) return [400, 1010, 'attachment']
    if (!this.contacts.has(`${keyId}/${key}`) || this.gone.has(key)) return [200, 2008, `No contact found with the external id: ${keyId}`]
    if (this.#triggerIds.has(trigger)) {
      this.repeated++
      return undefined
    }
    this.#triggerIds.add(trigger)
    this.triggers.push({ event, key, data, time, trigger, ...(attachment && { attachment }) })
    return undefined
  }

  #addToList(id, { key_id: keyId, external_ids: keys, ...more }) {
    if (!isKeyId(keyId) || !Array.isArray(keys) || !keys.length || Object.keys(more).length) {
      return reply(400, 1010, 'key_id and external_ids are required')
    }
    if (keys.length > MAX_CONTACTS) return reply(400, 1000, 'The maximum number of contacts is 1000')
    if (!this.lists.has(id)) return reply(200, 2020, 'Invalid contact list id')
    const errors = {}
    for (const key of keys) {
      if (this.contacts.has(`${keyId}/${key}`)) this.lists.get(id).add(key)
      else errors[key] = { 2008: `No contact found with the external id: ${keyId}` }
    }
    return ok({ inserted_contacts: keys.length - Object.keys(errors).length, errors })
  }
}

// Field ids are numbers; keys may also be `id` and `uid`.
function isKeyId(id) {
  return /^(\d+|id|uid)$/.test(String(id))
}

function wrongKey(key) {
  if (key === undefined || key === null || key === '') return { 2005: 'No value provided for key field' }
  return typeof key === 'string' && !key.startsWith('bad') ? undefined : { 2005: `Invalid key field value: ${key}` }
}

function wrongField(fields) {
  for (const [id, value] of Object.entries(fields)) {
    if (!isKeyId(id)) return { 2006: `Invalid field id: ${id}` }
    if (id === '31' && !['1', '2', 1, 2, '', null].includes(value)) return { 2007: `Invalid value in field ${id}: ${value}` }
    if (!isFieldValue(value)) return { 2007: `Invalid value in field ${id}` }
  }
  return undefined
}

function isFieldValue(value) {
  if (Array.isArray(value)) return value.every((v) => typeof v === 'string')
  return value === null || typeof value === 'string' || typeof value === 'number'
}

function isAttachment(list) {
  return Array.isArray(list) && list.every(({ filename, data, ...more }) => typeof filename === 'string'
    && /^[A-Za-z0-9+/]+=*$/.test(data) && Object.keys(more).length === 0)
}

export function reply(status, replyCode, replyText, data = '') {
  const failed = replyCode !== 0 || Object.keys(data.errors ?? {}).length > 0
  return { ...json(status, { replyCode, replyText, data }), refused: failed }
}

function ok(data) {
  return reply(200, 0, 'OK', data)
}

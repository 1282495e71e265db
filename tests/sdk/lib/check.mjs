// What arrived at the partner against what the SDK was told, and against what it wrote.

import assert from 'node:assert/strict'

import { labelOf } from './calls.mjs'

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
const TIMES = ['timestamp', 'originalTimestamp', 'sentAt', 'receivedAt']
const ROUTES = { i: 'identify', t: 'track', p: 'page', s: 'screen', g: 'group', a: 'alias' }

function isMap(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

// The part of `whole` that `part` speaks of, so that a difference is shown as one of two like objects.
function pick(whole, part) {
  if (!isMap(whole) || !isMap(part)) return whole
  return Object.fromEntries(Object.keys(part).map((key) => [key, pick(whole[key], part[key])]))
}

// Everything told is there, unchanged. The SDKs add members of their own, in maps too.
export function carriesWhatWasTold(event, told) {
  const { timestamp, ...rest } = told
  assert.deepEqual(pick(event, rest), rest)
  if (timestamp) assert.equal(new Date(event.originalTimestamp).getTime(), timestamp.getTime())
}

export function typeOf({ event, path }) {
  if (event.type) return event.type
  const last = path.split('?')[0].split('/').pop()
  return ROUTES[last] ?? last
}

// What the relay makes of a written event, but for the times. `ip`: the sender's address is added for browsers.
function normalised(written) {
  const { event, envelope, headers } = written
  const { writeKey, _metadata, ...kept } = event
  const made = { ...kept, type: typeOf(written) }
  for (const name of ['context', 'integrations']) {
    if (envelope[name] && made[name] !== undefined) made[name] = { ...envelope[name], ...made[name] }
  }
  if (headers.origin && made.context.ip === undefined) made.context = { ...made.context, ip: '127.0.0.1' }
  for (const name of TIMES) delete made[name]
  return made
}

// Nothing that the SDK wrote is missing, nothing was added that is not documented, and the times are right.
export function isWhatWasWritten(event, written) {
  const rest = { ...event }
  for (const name of TIMES) {
    if (rest[name] !== undefined) assert.match(rest[name], ISO, name)
    delete rest[name]
  }
  assert.deepEqual(rest, normalised(written))

  const ms = Object.fromEntries(TIMES.map((name) => [name, new Date(event[name]).getTime()]))
  const original = new Date(written.event.originalTimestamp ?? written.event.timestamp).getTime()
  assert.equal(ms.originalTimestamp, original)
  const sentAt = written.event.sentAt ?? written.envelope.sentAt
  assert.equal(event.sentAt === undefined, sentAt === undefined, 'sentAt')
  assert.equal(ms.timestamp, sentAt === undefined ? original : ms.receivedAt - (ms.sentAt - original))
}

// Each label has one messageId however often it came, and no two labels share one.
export function duplicatesByMessageIdOnly(events) {
  const idOf = new Map()
  for (const event of events) {
    const label = labelOf(event)
    assert.equal(event.messageId, idOf.get(label) ?? event.messageId, label)
    idOf.set(label, event.messageId)
  }
  assert.equal(new Set(idOf.values()).size, idOf.size, 'two events with one messageId')
}

export function labels(events) {
  return events.map(labelOf).sort()
}

export function missing(wanted, found) {
  const have = new Set(found)
  return wanted.filter((x) => !have.has(x))
}

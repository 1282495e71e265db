// Senders: one event or a batch as an SDK posts it, and raw bytes as no SDK would.

import { randomUUID } from 'node:crypto'
import { Agent, request } from 'node:http'
import { connect } from 'node:net'

import { WRITE_KEY } from './relay.mjs'
import { SLOWNESS } from './wait.mjs'

const SECONDS = 20

export function basic(key = WRITE_KEY) {
  return `Basic ${Buffer.from(`${key}:`).toString('base64')}`
}

export function track(event, more = {}) {
  return { type: 'track', event, userId: 'user-1', messageId: randomUUID(), ...more }
}

// One HTTP request: {status, headers, body}. `body` may be an object, which goes as JSON.
export function send(relay, path, { method = 'POST', body, headers = {}, key = WRITE_KEY, agent, seconds = SECONDS } = {}) {
  const bytes = body === undefined ? undefined
    : typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body)
  const all = { ...(key ? { authorization: basic(key) } : {}), ...headers }
  if (bytes !== undefined && !all['transfer-encoding']) all['content-length'] = Buffer.byteLength(bytes)
  return new Promise((done, fail) => {
    const req = request({ host: '127.0.0.1', port: relay.port, path, method, headers: all, agent: agent ?? false }, (res) => {
      const chunks = []
      res.on('data', (chunk) => chunks.push(chunk))
      res.on('error', fail)
      res.on('end', () => done({ status: res.statusCode, headers: res.headers, body: Buffer.concat(chunks).toString() }))
    })
    req.setTimeout(seconds * 1000 * SLOWNESS, () => req.destroy(new Error(`no answer to ${method} ${path}`)))
    req.on('error', fail)
    req.end(bytes)
  })
}

// Posts events as one batch and insists on success.
export async function accepted(relay, events, options = {}) {
  const answer = await send(relay, '/v1/batch', { ...options, body: { batch: events } })
  if (answer.status !== 200) throw new Error(`not accepted: ${answer.status} ${answer.body}`)
  return events.map((e) => e.messageId)
}

// Bytes as they are, in pieces when there are several; resolves with everything that came back, as latin1 text, when
// the relay closes the connection, or when `enough` says that it is all there.
export function raw(relay, pieces, { enough = () => false, seconds = SECONDS, halfClose = false } = {}) {
  return new Promise((done, fail) => {
    let text = ''
    const socket = connect(relay.port, '127.0.0.1')
    const timer = setTimeout(() => {
      socket.destroy()
      fail(new Error(`the connection stays open; so far came ${JSON.stringify(text)}`))
    }, seconds * 1000 * SLOWNESS)
    const finish = () => {
      clearTimeout(timer)
      socket.destroy()
      done(text)
    }
    socket.setNoDelay(true)
    socket.on('connect', () => {
      for (const piece of [pieces].flat()) socket.write(piece)
      if (halfClose) socket.end()
    })
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      if (enough(text)) finish()
    })
    socket.on('error', finish) // a reset is an end too
    socket.on('close', finish)
  })
}

export function keepAlive(sockets = 1) {
  return new Agent({ keepAlive: true, maxSockets: sockets })
}

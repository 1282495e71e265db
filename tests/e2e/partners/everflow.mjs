// Everflow's tracking domain: the server postback. GET / with the network and the visitor's transaction id; what else
// the query may hold is a closed list. Nobody logs in: a verification token, where the advertiser has it on, is in the
// query. A refusal may well be a 200 with an `error`.

import { json, StandIn } from '../lib/standin.mjs'

const numbered = (name, last) => Array.from({ length: last }, (_, i) => `${name}${i + 1}`)
const FIELDS = new Set(['nid', 'transaction_id', 'event_id', 'adv_event_id', 'oid', 'affid', 'advid', 'aid', 'coupon_code',
  'amount', ...numbered('adv', 10), ...numbered('sub', 10), 'order_id', 'verification_token', 'email', 'user_id', 'order',
  'timestamp', 'event_name'])
const LONGEST_ID = 332
const AMOUNT = /^-?\d+([.,]\d+)?$/
const SECONDS = /^\d{9,10}$/

export class Everflow extends StandIn {
  conversions = []

  // `events`: ids of the advertiser's events. `token`: its verification token, when that is on. `more`: names of further
  // fields that this network reads.
  constructor({ nid = '7', events = ['24'], token, more = [], ...options } = {}) {
    super(options)
    Object.assign(this, { nid, events, token, more })
  }

  take(request) {
    const query = new URL(request.url, this.url).searchParams
    const error = this.#fault(request, query)
    if (error) return { ...json(200, { error }), refused: true }
    const conversion = Object.fromEntries(query)
    this.conversions.push(conversion)
    if (conversion.adv_event_id) return { status: 204 } // both are seen
    return json(200, { transaction_id: conversion.transaction_id, conversion_id: `c${this.conversions.length}`, html_pixel: '' })
  }

  // What is wrong with a postback, if anything.
  #fault({ method, path, headers, body }, query) {
    const names = [...query.keys()]
    const unknown = names.find((name) => !FIELDS.has(name) && !this.more.includes(name))
    if (method !== 'GET' || path !== '/' || body) return `no ${method} ${path} here`
    if (headers.authorization || headers['x-eflow-api-key']) return 'a tracking domain has no use for credentials'
    if (unknown) return `unknown field ${unknown}`
    if (new Set(names).size !== names.length) return 'a field is there twice'
    if (names.some((name) => query.get(name) === '')) return 'a field is empty'
    if (query.get('nid') !== this.nid) return 'unknown network'
    if (this.token && query.get('verification_token') !== this.token) return 'invalid verification token'
    return this.#faultOfConversion((name) => query.get(name))
  }

  #faultOfConversion(field) {
    const id = field('transaction_id')
    const event = field('adv_event_id')
    if (!id || id !== id.trim() || id.length > LONGEST_ID) return 'transaction_id is not valid'
    if (event && field('event_id')) return 'event_id and adv_event_id exclude each other'
    if (event && !this.events.includes(event)) return `advertiser event ${event} does not exist`
    if (field('aid') && !event) return 'aid belongs to an advertiser event'
    if (field('amount') && !AMOUNT.test(field('amount'))) return 'amount is not a number'
    if (field('timestamp') && !SECONDS.test(field('timestamp'))) return 'timestamp is not in seconds'
    return undefined
  }
}

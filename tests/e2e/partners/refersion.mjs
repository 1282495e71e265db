// Refersion's REST API v2, as far as it is about affiliates. They are kept here: what was created, found, edited and
// switched off is what a test looks at.

import { json, StandIn } from '../lib/standin.mjs'

const PLACE = ['address1', 'address2', 'city', 'state', 'zip', 'country', 'phone', 'company', 'paypal_email']
const REQUIRED = ['first_name', 'last_name', 'email', 'password', 'status']
const NEW = [...REQUIRED, ...PLACE, 'offer', 'send_welcome', 'conversion_trigger_coupon', 'unique_merchant_id']
const EDITABLE = ['id', 'offer', 'first_name', 'last_name', 'email', ...PLACE, 'custom_fields']
const MAX_IDS = 50

const countries = new Intl.DisplayNames(['en'], { type: 'region', fallback: 'none' })

const missing = (field) => json(400, { error: `Missing required field ${field}` })
const invalid = (...errors) => json(422, { errors })

function isPassword(text, email) {
  return text.length >= 9 && text.length <= 72 && [/[A-Z]/, /[a-z]/, /[0-9]/, /[^A-Za-z0-9]/].every((r) => r.test(text))
    && text !== email
}

export class Refersion extends StandIn {
  affiliates = []
  welcomed = [] // addresses that got a welcome mail

  // `pageSize`: results of a search on one page. `taken`: what is said about an address that is registered already.
  constructor({ publicKey = 'pub_abc', secretKey = 'sec_def', pageSize = 3, taken = 'The email has already been taken.', ...options } = {}) {
    super(options)
    Object.assign(this, { publicKey, secretKey, pageSize, alreadyTaken: taken })
  }

  // An affiliate who was there before.
  add(email, more = {}) {
    const affiliate = {
      number: 37567000 + this.affiliates.length, code: `a${this.affiliates.length}z`, status: 'ACTIVE', first_name: 'Old',
      last_name: 'Name', email, ...more,
    }
    this.affiliates.push(affiliate)
    return affiliate
  }

  named(email) {
    return this.affiliates.find((a) => a.email.toLowerCase() === email.toLowerCase())
  }

  take({ method, path, url, headers, body }) {
    const call = {
      '/v2/affiliate/new': this.#new, '/v2/affiliate/search': this.#search, '/v2/affiliate/get': this.#get,
      '/v2/affiliate/edit': this.#edit, '/v2/affiliate/status_change': this.#changeStatus,
    }[path]
    if (!call || method !== 'POST' || url !== path) return json(404, { error: `no ${method} ${url}` })
    if (headers['refersion-public-key'] !== this.publicKey || headers['refersion-secret-key'] !== this.secretKey) {
      return json(401, { error: 'Invalid API credentials (error 2).' })
    }
    if (headers['content-type'] !== 'application/json' || !body) return json(404, { error: 'Bad request, no body' })
    return call.call(this, JSON.parse(body))
  }

  #new(given) {
    const lacking = REQUIRED.find((field) => !given[field])
    if (lacking) return missing(lacking)
    const errors = faultsOfNew(given)
    if (this.named(given.email)) errors.push(this.alreadyTaken)
    if (errors.length) return invalid(...errors)
    const { number, code } = this.add(given.email, given)
    if (given.send_welcome === 'TRUE') this.welcomed.push(given.email)
    return json(200, {
      id: code, link: `https://site.refersion.com/c/${code}`,
      message: `The affiliate ${number} has been created with the status of ${given.status}.`,
    })
  }

  // An affiliate's code must be exact; of an address a part is enough.
  #search({ keyword, page = '1', ...rest }) {
    if (!keyword) return missing('keyword')
    if (Object.keys(rest).length || typeof keyword !== 'string' || !/^[1-9]\d*$/.test(page)) return invalid('The search is not valid.')
    const word = keyword.toLowerCase()
    const found = this.affiliates.filter((a) => a.code === word || a.email.toLowerCase().includes(word))
    const from = (page - 1) * this.pageSize
    return json(200, {
      total: found.length,
      results: found.slice(from, from + this.pageSize).map(({ code, status, first_name, last_name, email }) =>
        ({ id: code, offer_id: '1', status, first_name, last_name, email, custom_fields: [] })),
    })
  }

  #get({ id, affiliate_code: code, ...rest }) {
    if (Object.keys(rest).length || (id === undefined) === (code === undefined)) return invalid('One of id and affiliate_code is wanted.')
    const a = this.affiliates.find((each) => each.number === id || each.code === code)
    return a ? json(200, { id: a.number, offer_id: '1', status: a.status, first_name: a.first_name, last_name: a.last_name, email: a.email })
      : invalid('No such affiliate.')
  }

  #edit({ affiliates, ...rest }) {
    if (!affiliates) return missing('affiliates')
    if (Object.keys(rest).length || !Array.isArray(affiliates)) return invalid('affiliates must be a list.')
    for (const change of affiliates) {
      if (!Number.isInteger(change.id)) return invalid('id must be an integer.')
      const unknown = Object.keys(change).filter((field) => !EDITABLE.includes(field))
      if (unknown.length || Object.keys(change).length < 2) return invalid(`Nothing to change, or unknown: ${unknown}`)
      if (change.country !== undefined && !countries.of(change.country)) return invalid('country must be a two-letter ISO code.')
    }
    return this.#changed(affiliates.map((c) => c.id), (a) => {
      Object.assign(a, affiliates.find((c) => c.id === a.number))
      return true
    })
  }

  // One who has the status already has not changed.
  #changeStatus({ ids, status, ...rest }) {
    if (!ids) return missing('ids')
    if (!status) return missing('status')
    const good = Array.isArray(ids) && ids.length <= MAX_IDS && ids.every(Number.isInteger) && !Object.keys(rest).length
    if (!good || !['ACTIVE', 'DENIED', 'DISABLED'].includes(status)) return invalid('The given data was invalid.')
    return this.#changed(ids, (a) => {
      const differs = a.status !== status
      a.status = status
      return differs
    })
  }

  #changed(ids, change) {
    const done = ids.filter((id) => {
      const affiliate = this.affiliates.find((a) => a.number === id)
      return affiliate && change(affiliate)
    })
    return json(200, { ids_changed: done, ids_not_changed: ids.filter((id) => !done.includes(id)) })
  }
}

function faultsOfNew(given) {
  const errors = []
  for (const [field, value] of Object.entries(given)) {
    if (!NEW.includes(field)) errors.push(`${field} is unknown.`)
    if (typeof value !== 'string' || value === '') errors.push(`${field} must be a string.`)
  }
  if (errors.length) return errors
  if (!/^[^@\s]+@[^@\s]+$/.test(given.email)) errors.push('The email must be a valid email address.')
  if (!isPassword(given.password, given.email)) errors.push('The password is too weak.')
  if (!['ACTIVE', 'PENDING'].includes(given.status)) errors.push('The status is invalid.')
  if (!['TRUE', 'FALSE', undefined].includes(given.send_welcome)) errors.push('send_welcome must be TRUE or FALSE.')
  if (given.country !== undefined && !/^[A-Z]{2}$/.test(given.country)) errors.push('The country must have 2 letters.')
  if (/^[A-Z]{2}$/.test(given.country) && !countries.of(given.country)) errors.push('The country does not exist.')
  if (!/^[A-Za-z0-9]+$/.test(given.unique_merchant_id ?? 'none')) errors.push('unique_merchant_id must be alphanumeric.')
  return errors
}

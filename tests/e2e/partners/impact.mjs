// impact.com: the Conversions API, which knows accounts, their limits and the rules of a conversion, and the host that
// takes page loads, which knows nobody.

import { base64, json, StandIn } from '../lib/standin.mjs'

const EITHER = ['CampaignId', 'EventDate', 'CustomerId', 'CustomProfileId', 'CustomerEmail', 'ClickId', 'PageUrl', 'ReferringUrl',
  'UserAgent', 'IpAddress', 'AppName', 'AppVer', 'AppPackage', 'DeviceMfr', 'DeviceModel', 'DeviceCarrier', 'DeviceLocale',
  'DeviceOs', 'DeviceOsVer', 'TrackingConsent', 'AppleIfv', 'AppleIfa', 'AndroidId', 'GoogAId', 'PropertyId', 'CustomClickId',
  'Note', 'SubId1', 'SubId2', 'SubId3', 'SharedId']
const CONVERSION = ['ActionTrackerId', 'EventTypeId', 'EventTypeCode', 'OrderId', 'CurrencyCode', 'OrderPromoCode', 'PromoCode',
  'OrderDiscount', 'OrderShipping', 'OrderTax', 'OrderMargin', 'OrderSubTotalPostDiscount', 'Amount', 'CustomerStatus',
  'CustomerCity', 'CustomerCountry', 'CustomerPostCode', 'CustomerRegion', 'PhoneNumber', 'CallerId', 'CountryCode', 'MediaId',
  'MediaPartnerId', 'UniqueUrl', 'Latitude', 'Longitude', 'PaymentType', 'GiftPurchase']
const ATTRIBUTION = ['ClickId', 'CustomerId', 'CustomProfileId', 'CustomClickId', 'PromoCode', 'OrderPromoCode', 'MediaId',
  'MediaPartnerId', 'UniqueUrl', 'CallerId', 'GoogAId', 'AndroidId', 'AppleIfa', 'AppleIfv']
const VISITOR = ['CustomProfileId', 'GoogAId', 'AndroidId', 'AppleIfa', 'AppleIfv', 'ClickId', 'CustomerId']
const EVENT_TYPE = ['ActionTrackerId', 'EventTypeId', 'EventTypeCode']
const LENGTHS = { OrderId: 64, EventTypeCode: 64, ClickId: 64, CustomProfileId: 70, CustomerId: 255 }

const ITEM = /^Item(Sku|Name|Category|SubCategory|Mpn|Brand|Quantity|Price|SubTotal|PromoCode|Discount|TotalDiscount|DeliveryType)([1-9]\d*)$/
const FREE = /^(Text|Numeric|Money)[1-9]\d*$/
const AMOUNT = /^(Order(Discount|Shipping|Tax|Margin|SubTotalPostDiscount)|Amount|Money\d+|Item(Price|SubTotal|Discount|TotalDiscount)\d+)$/
const NUMBER = /^-?\d+(\.\d+)?$/
const DATE = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/
const SHA1 = /^[0-9a-f]{40}$/
const SHA1_OR_SHA256 = /^([0-9a-f]{40}|[0-9a-f]{64})$/

class Fault extends Error {
  constructor(field, message) {
    super(message)
    this.field = field
  }
}

function need(condition, field, message) {
  if (!condition) throw new Fault(field, `${field} ${message}`)
}

// A form as an object. A name that comes twice, or with nothing behind it, is nobody's intention.
function readForm({ headers, body }) {
  need(headers['content-type'] === 'application/x-www-form-urlencoded', 'Content-Type', 'must be a form')
  const pairs = [...new URLSearchParams(body)]
  const form = Object.fromEntries(pairs)
  need(Object.keys(form).length === pairs.length, 'body', 'has a parameter twice')
  for (const [name, value] of pairs) need(value !== '', name, 'is empty')
  return form
}

function checkCommon(form, campaign) {
  need(form.CampaignId === campaign, 'CampaignId', 'is not a campaign of this account')
  for (const [name, most] of Object.entries(LENGTHS)) need([...form[name] ?? ''].length <= most, name, `is longer than ${most}`)
  need(!form.CustomerId?.includes('@'), 'CustomerId', 'must not be personal data')
  need(/^(true|false)$/.test(form.TrackingConsent ?? 'true'), 'TrackingConsent', 'must be true or false')
}

function checkItems(form) {
  const items = Object.keys(form).map((name) => ITEM.exec(name)).filter(Boolean)
  const last = Math.max(0, ...items.map(([, , index]) => Number(index)))
  for (let i = 1; i <= last; i++) {
    need(items.some(([, , index]) => Number(index) === i), `Item${i}`, 'is left out')
    need(!(`ItemPrice${i}` in form && `ItemSubTotal${i}` in form), `ItemPrice${i}`, 'excludes ItemSubTotal')
    need(/^\d+$/.test(form[`ItemQuantity${i}`] ?? '1'), `ItemQuantity${i}`, 'must be a whole number')
  }
  need(!(last && 'OrderSubTotalPostDiscount' in form), 'OrderSubTotalPostDiscount', 'must not come with items')
}

function checkConversion(form) {
  for (const name of Object.keys(form)) {
    const known = EITHER.includes(name) || CONVERSION.includes(name) || ITEM.test(name) || FREE.test(name)
    need(known, name, 'is unknown')
    need(!AMOUNT.test(name) || NUMBER.test(form[name]), name, 'must be a number')
  }
  need(form.OrderId, 'OrderId', 'is required')
  need(DATE.test(form.EventDate), 'EventDate', 'must be ISO 8601')
  need(EVENT_TYPE.filter((name) => name in form).length === 1, 'EventTypeId', 'one event type is required')
  need(ATTRIBUTION.some((name) => name in form), 'ClickId', 'an attribution key is required')
  need(SHA1_OR_SHA256.test(form.CustomerEmail ?? ''.padEnd(40, '0')), 'CustomerEmail', 'must be a SHA-1 or SHA-256 hash')
  const paid = Object.keys(form).some((name) => AMOUNT.test(name))
  need(/^[A-Z]{3}$/.test(form.CurrencyCode ?? (paid ? '' : 'USD')), 'CurrencyCode', 'is required with amounts')
  checkItems(form)
}

export class ImpactApi extends StandIn {
  conversions = []

  // `limit`: requests that this account may make; then 429 for so many `seconds`.
  constructor({ accountSid = 'IRsid', apiKey = 'token', campaign = '1234', limit = 1000, seconds = 3600, ...options } = {}) {
    super(options)
    Object.assign(this, { accountSid, apiKey, campaign, limit, seconds, used: 0, until: 0 })
  }

  // Conversions by order: what impact counts. Equal ones of one order are one.
  get orders() {
    return new Map(this.conversions.map((c) => [`${c.EventTypeCode ?? c.EventTypeId} ${c.OrderId}`, c]))
  }

  take(request) {
    const { method, url, headers } = request
    const path = `/Advertisers/${this.accountSid}/Conversions`
    if (method !== 'POST' || url !== path) return json(404, { Status: 'ERROR', Message: `no ${method} ${url} here` })
    if (headers.authorization !== `Basic ${base64(`${this.accountSid}:${this.apiKey}`)}`) {
      return json(401, { Status: 'ERROR', Message: 'The supplied credentials are invalid' })
    }
    const limits = this.#count(request.at)
    if (limits['x-ratelimit-remaining'] < 0) return json(429, { Status: 'ERROR', Message: 'Too many requests' }, limits)
    return this.#convert(request, limits)
  }

  // The window ends a little before what it tells: who waits as told is not too early by a rounded millisecond.
  #count(now) {
    if (this.used >= this.limit && now >= this.until) this.used = 0
    this.used++
    if (this.used === this.limit) this.until = now + this.seconds * 1000 - 50
    return {
      'x-ratelimit-limit': this.limit, 'x-ratelimit-remaining': this.limit - this.used,
      'x-ratelimit-reset': Math.max(0, Math.ceil((this.until - now) / 1000)),
    }
  }

  #convert(request, limits) {
    try {
      const form = readForm(request)
      checkCommon(form, this.campaign)
      checkConversion(form)
      this.conversions.push(form)
      const uri = `/Advertisers/${this.accountSid}/APISubmissions/A-${this.conversions.length}`
      return request.headers.accept?.includes('application/json') ? json(200, { Status: 'QUEUED', QueuedUri: uri }, limits)
        : { status: 200, headers: { 'content-type': 'text/xml' }, body: `<ImpactRadiusResponse><Uri>${uri}</Uri></ImpactRadiusResponse>` }
    } catch (error) {
      if (!(error instanceof Fault)) throw error
      return json(400, { Status: 'ERROR', errors: [{ field: error.field, level: 'error', message: error.message }] }, limits)
    }
  }
}

export class ImpactTracking extends StandIn {
  pageLoads = []

  constructor({ campaign = '1234', ...options } = {}) {
    super(options)
    this.campaign = campaign
  }

  take(request) {
    const { method, url, headers } = request
    if (method !== 'POST' || url !== '/PageLoad') return json(404, { Status: 'ERROR', Message: `no ${method} ${url} here` })
    try {
      need(!headers.authorization, 'Authorization', 'has nothing to do here')
      const form = readForm(request)
      for (const name of Object.keys(form)) need(EITHER.includes(name) || FREE.test(name), name, 'is unknown')
      checkCommon(form, this.campaign)
      need(form.EventDate === 'NOW' || DATE.test(form.EventDate), 'EventDate', 'must be NOW or ISO 8601')
      need(/^\w+:\/\/./.test(form.PageUrl), 'PageUrl', 'must be an address')
      need(VISITOR.some((name) => name in form), 'CustomProfileId', 'or another id of the visitor is required')
      need(form.CustomerEmail?.includes('@') || SHA1.test(form.CustomerEmail ?? ''.padEnd(40, '0')), 'CustomerEmail', 'must be plain or SHA-1')
      this.pageLoads.push(form)
      return json(200, { clickId: 'c', landingPage: form.PageUrl, sessionStart: form.EventDate, warnings: [] })
    } catch (error) {
      if (!(error instanceof Fault)) throw error
      return json(400, { Status: 'ERROR', Message: error.message, Errors: [{ Field: error.field, Message: error.message }] })
    }
  }
}

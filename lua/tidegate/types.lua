---@meta tidegate
-- What editors complete and check in scripts (LuaLS, https://luals.github.io annotations). Never loaded: lua/README.md says what each
-- thing does, and `make doc-check` compares both with the code.
--
-- In .luarc.json of your scripts' folder: { "runtime.version": "LuaJIT", "workspace.library": ["<prefix>/share/tidegate/lua"] }

---@class tidegate.Destination what init.lua returns
---@field name string name in the events' `integrations` object
---@field description? string
---@field transparent? boolean forwards whole events to another relay
---@field settings? table<string, tidegate.Setting>
---@field hosts? string[] hosts that requests may go to
---@field rates? table<string, tidegate.Rate>
---@field concurrency? integer|string requests under way at a time, per worker; or a setting's name
---@field batches? table<string, tidegate.Batch>
---@field check? fun(settings: table): nil|string|string[]
---@field judge? fun(response: tidegate.Response, request: tidegate.Sent, settings: table): tidegate.Outcome?, string?, string?
---@field on tidegate.Handlers

---@alias tidegate.Handler fun(event: tidegate.Event, settings: table, options: any)

---@class tidegate.Handlers its keys are the accepted types
---@field track? tidegate.Handler
---@field identify? tidegate.Handler
---@field page? tidegate.Handler
---@field screen? tidegate.Handler
---@field group? tidegate.Handler
---@field alias? tidegate.Handler
---@field delete? tidegate.Handler

---@class tidegate.Setting
---@field type "string"|"integer"|"number"|"boolean"|"array"|"text-map"|"url"|"enum"
---@field required? boolean
---@field default? any
---@field secret? boolean kept out of everything that people read
---@field help? string
---@field values? string[] of an enum
---@field min? number
---@field max? number

---@class tidegate.Rate one of per_second, per_minute, per_hour
---@field per_second? number|string
---@field per_minute? number|string
---@field per_hour? number|string
---@field burst? number|string requests that may go at once after a pause
---@field account? string[] settings; destinations with equal values share the limit
---@field reset? "seconds"|"epoch" what the partner's rate-limit header holds

---@class tidegate.Batch
---@field max_items? integer|string
---@field max_bytes? integer|string
---@field max_wait_ms? integer|string
---@field join fun(items: any[], settings: table): tidegate.Joined
---@field split? fun(response: tidegate.Response, items: any[], settings: table): tidegate.Outcome[]?

---@alias tidegate.Outcome string|string[]|{ outcome: string, reason: string?, message: string? }

---@class tidegate.Joined what join returns
---@field json? any
---@field form? table
---@field body? string
---@field headers? table<string, string|number|boolean>

---@class tidegate.Event
---@field type string
---@field messageId string
---@field userId? string
---@field anonymousId? string
---@field event? string of a track event
---@field name? string of a page or screen
---@field timestamp string ISO 8601 with milliseconds, as the other times
---@field originalTimestamp? string
---@field sentAt? string
---@field receivedAt string
---@field properties table
---@field traits table
---@field context table
---@field integrations table

---@class tidegate.Request what deliver takes
---@field method? "GET"|"POST"|"PUT"|"PATCH"|"DELETE"|"HEAD"|"OPTIONS"
---@field url string
---@field query? table
---@field headers? table<string, string|number|boolean>
---@field json? any
---@field form? table
---@field body? string
---@field gzip? boolean
---@field rate? string of the contract's rates
---@field batch? string of the contract's batches
---@field item? any what join gets
---@field key? string one request under way at a time
---@field repeatable? boolean may be sent again at a retry
---@field share? boolean the answer to an equal request under way serves this one too
---@field secret? string text of this request that is masked where the request is shown

---@class tidegate.Sent what judge sees of a request
---@field method string
---@field url string
---@field headers table<string, string> names in lower case
---@field body string
---@field call integer of the event's deliveries, from 1
---@field batch? string

---@class tidegate.Handle
local Handle = {}
---@return tidegate.Response
function Handle:wait() end

---@class tidegate.Response
---@field status integer
---@field headers table<string, string> names in lower case
---@field body string
---@field cut? boolean the end was not kept

---@class tidegate.Row
---@field to string
---@field from string|string[]
---@field as? string|function|(string|function)[]
---@field default? any
---@field required? boolean|string

---@class tidegate.Fixture what a file in fixtures/ returns
---@field name? string
---@field settings? table|string JSON text where a table is not exact
---@field event? table|string
---@field events? (table|string)[] instead of event: they are under way together
---@field at? string
---@field responses? table[]|string
---@field allow_private? boolean
---@field expect table|string

---@alias tidegate.Encoding "hex"|"raw"|"base64"

local tidegate = {}

---@param request tidegate.Request
---@return tidegate.Handle
function tidegate.deliver(request) end
---@param reason string
---@param message? string
function tidegate.skip(reason, message) end
---@param reason string
---@param message? string
function tidegate.reject(reason, message) end
---@param reason string
---@param seconds? number
---@param message? string
function tidegate.retry(reason, seconds, message) end
---@param event tidegate.Event
---@return string
function tidegate.raw(event) end

---@param from table
---@param path string
---@return any
function tidegate.get(from, path) end
---@param from table
---@param paths string[]
---@return any
function tidegate.first(from, paths) end
---@param from table
---@param rows tidegate.Row[]
---@return table
function tidegate.map(from, rows) end

tidegate.json = {}
---@param text string
---@return any
function tidegate.json.decode(text) end
---@param value any
---@return string
function tidegate.json.encode(value) end
---@param text string
---@return any, string?
function tidegate.json.try_decode(text) end
---@param value any
---@return string?, string?
function tidegate.json.try_encode(value) end
---@param t? table
---@return table
function tidegate.json.array(t) end
---@param t any
---@return boolean
function tidegate.json.is_array(t) end
---@param text string
---@return any
function tidegate.json.number(text) end
---@param v any
---@return number?
function tidegate.json.tonumber(v) end
---@type any
tidegate.json.null = nil
---@type table
tidegate.json.empty_array = nil
---@type table
tidegate.json.array_mt = nil
---@type table
tidegate.json.empty_array_mt = nil

---@param s string
---@param encoding? tidegate.Encoding
---@return string
function tidegate.md5(s, encoding) end
---@param s string
---@param encoding? tidegate.Encoding
---@return string
function tidegate.sha1(s, encoding) end
---@param s string
---@param encoding? tidegate.Encoding
---@return string
function tidegate.sha256(s, encoding) end
---@param s string
---@param encoding? tidegate.Encoding
---@return string
function tidegate.sha512(s, encoding) end
---@param algorithm "md5"|"sha1"|"sha256"|"sha512"
---@param key string
---@param s string
---@param encoding? tidegate.Encoding
---@return string
function tidegate.hmac(algorithm, key, s, encoding) end
---@param s string
---@return integer
function tidegate.crc32(s) end
tidegate.base64 = {}
---@param s string
---@return string
function tidegate.base64.encode(s) end
---@param s string
---@return string?, string?
function tidegate.base64.decode(s) end
tidegate.base64url = {}
---@param s string
---@return string
function tidegate.base64url.encode(s) end
---@param s string
---@return string?, string?
function tidegate.base64url.decode(s) end
tidegate.hex = {}
---@param s string
---@return string
function tidegate.hex.encode(s) end
---@param s string
---@return string?, string?
function tidegate.hex.decode(s) end

tidegate.url = {}
---@param s string
---@return string
function tidegate.url.encode(s) end
---@param s string
---@return string?, string?
function tidegate.url.decode(s) end
---@param s string
---@return { scheme: string, host: string, port: integer?, path: string, query: string?, fragment: string? }?, string?
function tidegate.url.parse(s) end
---@param s string
---@return table<string, string>?, string?
function tidegate.url.query(s) end
tidegate.form = {}
---@param t table
---@param options? { empty: boolean }
---@return string
function tidegate.form.encode(t, options) end

tidegate.time = {}
---@return integer ms since 1970, UTC
function tidegate.time.now() end
---@param text string
---@return integer?, string?
function tidegate.time.parse(text) end
---@param ms number
---@param format? string
---@return string
function tidegate.time.format(ms, format) end

---@return string
function tidegate.uuid() end
---@param n integer
---@return string
function tidegate.random(n) end
---@param n integer
---@param alphabet? string
---@return string
function tidegate.random_string(n, alphabet) end
---@param user string
---@param secret string
---@param options? { nonce: string?, created: string? }
---@return string
function tidegate.wsse(user, secret, options) end

tidegate.cache = {}
---@param key string
---@return string|number|boolean|nil
function tidegate.cache.get(key) end
---@param key string
---@param value string|number|boolean
---@param seconds? number
---@return boolean?, string?
function tidegate.cache.set(key, value, seconds) end
---@param key string
function tidegate.cache.delete(key) end

---@param name string
---@param fetch fun(): string, number? the text and its seconds
---@return string
function tidegate.token(name, fetch) end

---@class tidegate.OAuth2
---@field token_url string
---@field client_id string
---@field client_secret string
---@field scope? string
---@field audience? string
---@field in_body? boolean the client's id and secret go into the form instead of the Authorization header
---@field rate? string of the contract's rates
---@param options tidegate.OAuth2
---@return string
function tidegate.oauth2(options) end

tidegate.log = {}
---@param message string
---@param fields? table<string, string|number|boolean>
function tidegate.log.debug(message, fields) end
---@param message string
---@param fields? table<string, string|number|boolean>
function tidegate.log.info(message, fields) end
---@param message string
---@param fields? table<string, string|number|boolean>
function tidegate.log.warn(message, fields) end
---@param message string
---@param fields? table<string, string|number|boolean>
function tidegate.log.error(message, fields) end

return tidegate

-- Wireshark dissector for the kv wire protocol, versions 1 and 2 (docs/protocol.md).
--
-- Shows what is readable without keys: headers, flags, tags, and in suites 0 and 1 the whole body. It does
-- not verify tags. Bodies with the flag ENCRYPTED are shown as bytes.
--
--   wireshark -X lua_script:docs/wireshark/kv.lua
--   tshark -X lua_script:docs/wireshark/kv.lua -i lo -f 'tcp port 7777' -Y kv
--
-- The port is a preference (Edit > Preferences > Protocols > KV); "Decode As" works too.

local kv = Proto("kv", "kv key-value protocol")

local HEADER_LEN, PREFIX_LEN = 16, 48
local MAGIC = 0xCAFE
-- What is longer than the largest frame that can be negotiated is not a frame.
local BODY_MAX = 16 * 1024 * 1024

local OPCODES = {
  [1] = "GET", [2] = "SET", [3] = "DEL", [4] = "SCAN", [5] = "WATCH", [6] = "BATCH", [7] = "INCR", [8] = "TOUCH",
  [16] = "HELLO", [17] = "AUTH", [18] = "PING", [19] = "PONG", [20] = "ECHO", [21] = "CANCEL", [22] = "CREDIT",
  [23] = "KEY_UPDATE", [24] = "GOODBYE",
  [32] = "PUBLISH", [33] = "SUBSCRIBE", [34] = "BROADCAST",
  [48] = "ENQUEUE", [49] = "CONSUME", [50] = "ACK", [51] = "NACK", [52] = "EXTEND", [53] = "QUEUE_CREATE",
  [54] = "QUEUE_DELETE", [55] = "QUEUE_INFO", [56] = "REDRIVE", [57] = "PURGE",
  [112] = "INFO", [113] = "CLIENTS", [114] = "KILL", [115] = "SLOWLOG", [116] = "BACKUP",
  [128] = "OK", [129] = "ERR", [130] = "NOTFOUND", [131] = "ITEM", [132] = "END",
  [144] = "WELCOME", [145] = "READY", [146] = "SERVER_PING", [147] = "SERVER_PONG", [148] = "GOAWAY",
  [149] = "SERVER_GOODBYE", [150] = "SERVER_KEY_UPDATE", [160] = "NOTICE",
}

local ERRORS = {
  [1] = "CONFLICT", [2] = "INVALID_ARGUMENT", [3] = "TOO_LARGE", [4] = "WRONG_TYPE", [5] = "UNSUPPORTED",
  [6] = "READ_ONLY", [16] = "AUTH_FAILED", [17] = "PERMISSION_DENIED", [18] = "UNSUPPORTED_VERSION",
  [32] = "RATE_LIMITED", [33] = "OVERLOADED", [34] = "SHUTTING_DOWN", [35] = "TOO_MANY_IN_FLIGHT",
  [48] = "DEADLINE_EXCEEDED", [49] = "OUTCOME_UNKNOWN", [64] = "OUT_OF_MEMORY", [65] = "DISK_FULL", [66] = "CORRUPT",
  [80] = "QUEUE_NOT_FOUND", [81] = "MESSAGE_NOT_FOUND", [82] = "LEASE_LOST", [83] = "QUEUE_EXISTS", [84] = "COMPACTED",
  [85] = "SLOW_CONSUMER", [255] = "INTERNAL",
}

local SUITES = { [0] = "checksum", [1] = "hmac-sha256", [2] = "x25519-aes256ctr-hmac-sha256" }
local CONTENT_TYPES = { [0] = "bytes", [1] = "text", [2] = "typed value", [3] = "JSON" }
local EVENTS = { [1] = "set", [2] = "deleted", [3] = "expired", [4] = "progress mark" }

local f = {
  magic = ProtoField.uint16("kv.magic", "Magic", base.HEX),
  version = ProtoField.uint8("kv.version", "Version", base.DEC),
  opcode = ProtoField.uint8("kv.opcode", "Opcode", base.DEC, OPCODES),
  request_id = ProtoField.uint32("kv.request_id", "Request id", base.DEC),
  flags = ProtoField.uint8("kv.flags", "Flags", base.HEX),
  compressed = ProtoField.bool("kv.flags.compressed", "COMPRESSED", 8, nil, 0x01),
  encrypted = ProtoField.bool("kv.flags.encrypted", "ENCRYPTED", 8, nil, 0x02),
  more = ProtoField.bool("kv.flags.more", "MORE", 8, nil, 0x04),
  ext_len = ProtoField.uint8("kv.ext_len", "Length of the extension block", base.DEC),
  key_len = ProtoField.uint16("kv.key_len", "Length of the key", base.DEC),
  value_len = ProtoField.uint32("kv.value_len", "Length of the value", base.DEC),
  tag = ProtoField.bytes("kv.tag", "Tag"),
  ext = ProtoField.none("kv.ext", "Extension block"),
  key = ProtoField.bytes("kv.key", "Key"),
  value = ProtoField.bytes("kv.value", "Value"),
  ciphertext = ProtoField.bytes("kv.ciphertext", "Encrypted body"),
  item_tag = ProtoField.uint8("kv.ext.tag", "Tag", base.HEX),
  item_bytes = ProtoField.bytes("kv.ext.bytes", "Bytes of an unknown extension"),
  field = ProtoField.uint8("kv.field", "Field", base.DEC),
  field_bytes = ProtoField.bytes("kv.field.bytes", "Bytes of an unknown field"),
  version_min = ProtoField.uint8("kv.hello.version_min", "Lowest version", base.DEC),
  version_max = ProtoField.uint8("kv.hello.version_max", "Highest version", base.DEC),
  version_chosen = ProtoField.uint8("kv.welcome.version", "Version chosen", base.DEC),
  suite = ProtoField.uint8("kv.suite", "Suite", base.DEC, SUITES),
  capabilities = ProtoField.uint32("kv.capabilities", "Capabilities", base.HEX),
  key_id = ProtoField.string("kv.hello.key_id", "Key id", base.UNICODE),
  session_id = ProtoField.bytes("kv.welcome.session_id", "Session id"),
  nonce = ProtoField.bytes("kv.nonce", "Nonce"),
  server_name = ProtoField.string("kv.hello.server_name", "Server name", base.UNICODE),
  software = ProtoField.string("kv.software", "Software", base.UNICODE),
  share = ProtoField.bytes("kv.x25519_share", "X25519 share"),
  max_frame = ProtoField.uint32("kv.welcome.max_frame", "max_frame", base.DEC),
  max_message = ProtoField.uint32("kv.welcome.max_message", "max_message", base.DEC),
  max_in_flight = ProtoField.uint32("kv.welcome.max_in_flight", "max_in_flight", base.DEC),
  max_streams = ProtoField.uint32("kv.welcome.max_streams", "max_streams", base.DEC),
  ping_after_ms = ProtoField.uint32("kv.welcome.ping_after_ms", "ping_after_ms", base.DEC),
  error_code = ProtoField.uint16("kv.error.code", "Error", base.DEC, ERRORS),
  retry_after = ProtoField.uint32("kv.error.retry_after_ms", "Retry after (ms)", base.DEC),
  error_text = ProtoField.string("kv.error.message", "Message", base.UNICODE),
  last_id = ProtoField.uint32("kv.goaway.last_request_id", "Last request id served", base.DEC),
  reason = ProtoField.string("kv.goaway.reason", "Reason", base.UNICODE),
  epoch = ProtoField.uint32("kv.key_update.epoch", "Epoch that starts after this frame", base.DEC),
  credit = ProtoField.uint32("kv.credit", "Further items granted", base.DEC),
  original_len = ProtoField.uint32("kv.original_len", "Length before compression", base.DEC),
  batch_item = ProtoField.none("kv.batch.item", "Item"),
}

-- Extensions: tag, name, kind. Kinds that are fields of their own make filters such as kv.ext.ttl_ms.
local EXTENSIONS = {
  { 0x01, "TTL_MS", "u64" }, { 0x02, "VERSION", "u64" }, { 0x03, "DEADLINE_MS", "u32" }, { 0x04, "TRACE", "bytes" },
  { 0x05, "CONTENT_TYPE", "u8", CONTENT_TYPES }, { 0x06, "CREDIT", "u32" }, { 0x07, "DELAY_MS", "u64" },
  { 0x08, "FAIRNESS_KEY", "bytes" }, { 0x09, "ATTEMPT", "u32" }, { 0x0A, "LIMIT", "u32" },
  { 0x0B, "EVENT", "u8", EVENTS }, { 0x0C, "FROM_VERSION", "u64" }, { 0x0D, "VALUE_LEN", "u32" },
  { 0x0E, "MESSAGE_ID", "u64" }, { 0x0F, "LOST", "u64" }, { 0x81, "IF_VERSION", "u64" }, { 0x82, "RETURN", "u8" },
  { 0x83, "TOTAL_LEN", "u32" }, { 0x84, "IDEMPOTENCY", "bytes" }, { 0x85, "ATOMIC", "empty" },
  { 0x86, "REVERSE", "empty" }, { 0x87, "EXACT", "empty" }, { 0x88, "POLICY", "u8" },
}
local BY_TAG = {}
local KIND = {
  u8 = { 1, function(a, n, v) return ProtoField.uint8(a, n, base.DEC, v) end },
  u32 = { 4, function(a, n) return ProtoField.uint32(a, n, base.DEC) end },
  u64 = { 8, function(a, n) return ProtoField.uint64(a, n, base.DEC) end },
  bytes = { nil, function(a, n) return ProtoField.bytes(a, n) end },
  empty = { 0, function(a, n) return ProtoField.none(a, n) end },
}
for _, row in ipairs(EXTENSIONS) do
  local tag, name, kind, values = row[1], row[2], row[3], row[4]
  local field = KIND[kind][2]("kv.ext." .. name:lower(), name, values)
  f["ext_" .. name] = field
  BY_TAG[tag] = { name = name, len = KIND[kind][1], field = field }
end
kv.fields = f

local e = {
  malformed = ProtoExpert.new("kv.malformed", "Malformed", expert.group.MALFORMED, expert.severity.ERROR),
  reserved = ProtoExpert.new("kv.reserved", "Reserved bits are set", expert.group.PROTOCOL, expert.severity.ERROR),
  unknown = ProtoExpert.new("kv.unknown", "Unknown number", expert.group.PROTOCOL, expert.severity.NOTE),
  critical = ProtoExpert.new("kv.critical", "Unknown critical extension", expert.group.PROTOCOL, expert.severity.WARN),
}
kv.experts = e

kv.prefs.port = Pref.uint("TCP port", 7777, "The port on which kv servers listen (0: none)")

local function has(flags, mask)
  return math.floor(flags / mask) % 2 == 1
end

local function printable(range)
  local text = range:string()
  if #text > 0 and #text <= 64 and not text:find("[^%g ]") then
    return text
  end
  return nil
end

-- The value, with its text beside it where it is one.
local function add_bytes(tree, field, range)
  local item = tree:add(field, range)
  local text = printable(range)
  if text then
    item:append_text(" (" .. text .. ")")
  end
  return item
end

local function dissect_extensions(tree, range)
  local block = tree:add(f.ext, range)
  local at, last = 0, -1
  while at < range:len() do
    if at + 2 > range:len() or at + 2 + range(at + 1, 1):uint() > range:len() then
      block:add_proto_expert_info(e.malformed, "an item is cut short")
      return
    end
    local tag, len = range(at, 1):uint(), range(at + 1, 1):uint()
    local whole = range(at, 2 + len)
    local known = BY_TAG[tag]
    if known and (known.len == nil or known.len == len) and (len > 0 or known.len == 0) then
      if len > 0 then
        block:add(known.field, range(at + 2, len))
      else
        block:add(known.field, whole)
      end
    else
      local item = block:add(f.item_tag, range(at, 1))
      if len > 0 then
        item:add(f.item_bytes, range(at + 2, len))
      end
      if known then
        item:add_proto_expert_info(e.malformed, known.name .. " of a wrong length")
      elseif tag >= 0x80 then
        item:add_proto_expert_info(e.critical)
      end
    end
    if tag <= last then
      block:add_proto_expert_info(e.malformed, "items are not in ascending order")
    end
    last = tag
    at = at + 2 + len
  end
end

local LIMITS = { "max_frame", "max_message", "max_in_flight", "max_streams", "ping_after_ms" }

-- Fields of HELLO and WELCOME: tag to the length it must have (nil: any) and what to show.
local HELLO_FIELDS = {
  [1] = { 2, function(t, r) t:add(f.version_min, r(0, 1)); t:add(f.version_max, r(1, 1)) end },
  [2] = { nil, function(t, r) for i = 0, r:len() - 1 do t:add(f.suite, r(i, 1)) end end },
  [3] = { 4, function(t, r) t:add(f.capabilities, r) end },
  [4] = { nil, function(t, r) t:add(f.key_id, r) end },
  [5] = { 32, function(t, r) t:add(f.nonce, r) end },
  [6] = { nil, function(t, r) t:add(f.server_name, r) end },
  [7] = { 32, function(t, r) t:add(f.share, r) end },
  [8] = { nil, function(t, r) t:add(f.software, r) end },
}
local WELCOME_FIELDS = {
  [1] = { 1, function(t, r) t:add(f.version_chosen, r) end },
  [2] = { 1, function(t, r) t:add(f.suite, r) end },
  [3] = { 4, function(t, r) t:add(f.capabilities, r) end },
  [4] = { 16, function(t, r) t:add(f.session_id, r) end },
  [5] = { 32, function(t, r) t:add(f.nonce, r) end },
  [6] = { nil, function(t, r) t:add(f.software, r) end },
  [7] = { 32, function(t, r) t:add(f.share, r) end },
  [8] = { nil, function(t, r)
    for i, name in ipairs(LIMITS) do
      if r:len() >= 4 * i then
        t:add(f[name], r(4 * (i - 1), 4))
      end
    end
  end },
}

local function dissect_fields(tree, range, fields)
  local at, last = 0, -1
  while at < range:len() do
    if at + 3 > range:len() or at + 3 + range(at + 1, 2):uint() > range:len() then
      tree:add_proto_expert_info(e.malformed, "a field is cut short")
      return
    end
    local tag, len = range(at, 1):uint(), range(at + 1, 2):uint()
    local known = fields[tag]
    if tag <= last then
      tree:add_proto_expert_info(e.malformed, "fields are not in ascending order")
    end
    if known and len > 0 and (known[1] == nil or known[1] == len) then
      known[2](tree, range(at + 3, len))
    elseif known and len > 0 then
      tree:add(f.field, range(at, 1)):add_proto_expert_info(e.malformed, "a field of a wrong length")
    elseif not known then
      local item = tree:add(f.field, range(at, 1))
      if len > 0 then
        item:add(f.field_bytes, range(at + 3, len))
      end
    end
    last = tag
    at = at + 3 + len
  end
end

local function dissect_error(tree, range)
  if range:len() < 6 then
    tree:add_proto_expert_info(e.malformed, "an ERR value is cut short")
    return nil
  end
  tree:add(f.error_code, range(0, 2))
  tree:add(f.retry_after, range(2, 4))
  if range:len() > 6 then
    tree:add(f.error_text, range(6))
  end
  local code = range(0, 2):uint()
  return ERRORS[code] or ("error " .. code)
end

local function add_header(tree, range)
  tree:add(f.magic, range(0, 2))
  tree:add(f.version, range(2, 1))
  local opcode = tree:add(f.opcode, range(3, 1))
  if not OPCODES[range(3, 1):uint()] then
    opcode:add_proto_expert_info(e.unknown, "Unknown opcode")
  end
  tree:add(f.request_id, range(4, 4))
  local flags = tree:add(f.flags, range(8, 1))
  flags:add(f.compressed, range(8, 1))
  flags:add(f.encrypted, range(8, 1))
  flags:add(f.more, range(8, 1))
  if range(8, 1):uint() > 7 then
    flags:add_proto_expert_info(e.reserved)
  end
  tree:add(f.ext_len, range(9, 1))
  tree:add(f.key_len, range(10, 2))
  tree:add(f.value_len, range(12, 4))
end

-- A BATCH, or the OK that answers one: frames without tags.
local function looks_like_batch(range)
  return range:len() >= HEADER_LEN and range(0, 2):uint() == MAGIC and range(2, 1):uint() == 2
end

local dissect_body

local function dissect_batch(tree, range)
  local at, index = 0, 0
  while at + HEADER_LEN <= range:len() do
    local head = range(at, HEADER_LEN)
    local len = head(9, 1):uint() + head(10, 2):uint() + head(12, 4):uint()
    if head(0, 2):uint() ~= MAGIC or at + HEADER_LEN + len > range:len() then
      break
    end
    local item = tree:add(f.batch_item, range(at, HEADER_LEN + len))
    item:append_text(" " .. index .. ": " .. (OPCODES[head(3, 1):uint()] or "unknown"))
    add_header(item, head)
    if len > 0 then
      dissect_body(item, head, range(at + HEADER_LEN, len), false)
    end
    at = at + HEADER_LEN + len
    index = index + 1
  end
  if at < range:len() then
    tree:add_proto_expert_info(e.malformed, "a BATCH item is cut short")
  end
end

local VALUES = {
  [16] = function(t, r) dissect_fields(t, r, HELLO_FIELDS) end,
  [144] = function(t, r) dissect_fields(t, r, WELCOME_FIELDS) end,
  [6] = dissect_batch,
  [22] = function(t, r) if r:len() == 4 then t:add(f.credit, r) end end,
  [23] = function(t, r) if r:len() == 4 then t:add(f.epoch, r) end end,
  [150] = function(t, r) if r:len() == 4 then t:add(f.epoch, r) end end,
  [148] = function(t, r)
    if r:len() >= 4 then
      t:add(f.last_id, r(0, 4))
      if r:len() > 4 then t:add(f.reason, r(4)) end
    end
  end,
}

-- Extension block, key and value. Returns what belongs into the info column.
function dissect_body(tree, head, body, outer)
  local version, opcode, flags = head(2, 1):uint(), head(3, 1):uint(), head(8, 1):uint()
  local ext_len, key_len, value_len = head(9, 1):uint(), head(10, 2):uint(), head(12, 4):uint()
  if has(flags, 2) then
    tree:add(f.ciphertext, body)
    return "encrypted"
  end
  local note = nil
  if ext_len > 0 then
    dissect_extensions(tree, body(0, ext_len))
  end
  if key_len > 0 then
    local key = body(ext_len, key_len)
    add_bytes(tree, f.key, key)
    note = printable(key)
  end
  if value_len == 0 then
    return note
  end
  local value = body(ext_len + key_len, value_len)
  local item = add_bytes(tree, f.value, value)
  if has(flags, 4) then
    return note
  end
  if has(flags, 1) then
    if value_len >= 4 then item:add(f.original_len, value(0, 4)) end
  elseif opcode == 129 and version == 1 then
    item:add(f.error_text, value)
    note = printable(value)
  elseif opcode == 129 then
    note = dissect_error(item, value)
  elseif VALUES[opcode] then
    VALUES[opcode](item, value)
  elseif outer and opcode == 128 and looks_like_batch(value) then
    dissect_batch(item, value)
  end
  return note
end

local function frame_len(buffer, pinfo, offset)
  local head = buffer(offset, HEADER_LEN)
  local body = head(9, 1):uint() + head(10, 2):uint() + head(12, 4):uint()
  -- A frame that cannot be one: take what is there, so that the rest is shown as malformed.
  if head(0, 2):uint() ~= MAGIC or body > BODY_MAX + 65790 then
    return buffer:len() - offset
  end
  return PREFIX_LEN + body
end

local function dissect_frame(buffer, pinfo, root)
  pinfo.cols.protocol = "KV"
  local tree = root:add(kv, buffer())
  if buffer:len() < PREFIX_LEN or buffer(0, 2):uint() ~= MAGIC then
    tree:add_proto_expert_info(e.malformed, "not a frame of this protocol")
    return buffer:len()
  end
  local head = buffer(0, HEADER_LEN)
  add_header(tree, head)
  tree:add(f.tag, buffer(HEADER_LEN, PREFIX_LEN - HEADER_LEN))
  local name = OPCODES[head(3, 1):uint()] or ("opcode " .. head(3, 1):uint())
  local id = head(4, 4):uint()
  local note = nil
  if buffer:len() > PREFIX_LEN then
    note = dissect_body(tree, head, buffer(PREFIX_LEN), true)
  end
  local text = name .. (id > 0 and (" #" .. id) or "") .. (note and (" " .. note) or "")
  tree:append_text(", version " .. head(2, 1):uint() .. ", " .. text)
  if pinfo.cols.info then
    pinfo.cols.info:append((tostring(pinfo.cols.info) ~= "" and " | " or "") .. text)
  end
  return buffer:len()
end

function kv.dissector(buffer, pinfo, root)
  pinfo.cols.info = ""
  dissect_tcp_pdus(buffer, root, HEADER_LEN, frame_len, dissect_frame)
  return buffer:len()
end

local tcp_ports = DissectorTable.get("tcp.port")
local current = nil

local function register_port()
  if current == kv.prefs.port then
    return
  end
  if current and current > 0 then
    tcp_ports:remove(current, kv)
  end
  current = kv.prefs.port
  if current > 0 then
    tcp_ports:add(current, kv)
  end
end

function kv.prefs_changed()
  register_port()
end

register_port()
tcp_ports:add_for_decode_as(kv)

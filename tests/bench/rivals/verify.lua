local cjson = require "cjson.safe"
local ffi = require "ffi"
ffi.cdef [[ unsigned char *SHA512(const unsigned char *data, size_t length, unsigned char *digest); ]]
local crypto = ffi.load("crypto")
local digest = ffi.new("unsigned char[64]")
local hex = {}
for byte = 0, 255 do hex[byte] = string.format("%02x", byte) end

local M = {}

function M.verify()
  ngx.req.read_body()
  local message = cjson.decode(ngx.req.get_body_data() or "")
  if not message then return ngx.exit(400) end
  local signed = message.order_id .. message.status_code .. message.gross_amount .. "@KEY@"
  crypto.SHA512(signed, #signed, digest)
  local text = {}
  for i = 0, 63 do text[i + 1] = hex[digest[i]] end
  if table.concat(text) ~= message.signature_key then return ngx.exit(401) end
end

return M

-- For wrk: a request that was never sent before, each time.
--
-- BENCH_REQUESTS is a file of whole requests, each BENCH_LENGTH bytes long. With BENCH_MARK they
-- are used again and again, and the twelve bytes at that offset become a counter. Without it each
-- is used once. BENCH_FIRST is where to begin; `used` in the result says how far this run came.

local length = tonumber(os.getenv("BENCH_LENGTH"))
local mark = tonumber(os.getenv("BENCH_MARK") or "")
local first = tonumber(os.getenv("BENCH_FIRST"))
local file = assert(io.open(os.getenv("BENCH_REQUESTS"), "rb"))
local format = string.format
used = 0

if mark then
  local before, after = {}, {}
  for text in function() return file:read(length) end do
    before[#before + 1] = text:sub(1, mark)
    after[#after + 1] = text:sub(mark + 13)
  end
  local count = #before
  function request()
    used = used + 1
    local number = first + used
    local k = number % count + 1
    return before[k] .. format("%012d", number) .. after[k]
  end
else
  file:seek("set", first * length)
  function request()
    used = used + 1
    local text = file:read(length)
    if not text then
      file:seek("set", 0)
      text = file:read(length)
    end
    return text
  end
end

local threads = {}
function setup(thread) threads[#threads + 1] = thread end

function done(summary, latency)
  local errors = summary.errors
  io.write(format("RESULT requests=%d microseconds=%d p50=%d p99=%d refused=%d broken=%d used=%d\n",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    threads[1]:get("used")))
end

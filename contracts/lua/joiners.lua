-- joiners: commands that a queued one took along share its end. Needs keys, receipts (and what those need).

-- Gives the joiners of a target that has ended its outcome, each with a settled event of its own.
local function settle_joiners(target, id, window)
  local joiners = redis.call('LRANGE', joiners_key(id), '0', '-1')
  for i = 1, #joiners do
    local receipt = receipt_of(joiners[i])
    if receipt and not SETTLED[receipt.status] then
      settle_receipt(receipt, {status = target.status, code = target.code, error = target.error, message = target.message,
        changed = target.changed}, window, 'settled')
      redis.call('ZREM', EXPIRIES, receipt.id)
    end
  end
  if #joiners > 0 then redis.call('DEL', joiners_key(id)) end
end

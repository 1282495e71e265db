--- Addresses that come from settings.

local address = {}

-- "https://host:port" of an address: what stands before its path.
function address.origin(url)
  return url:match("^%a+://[^/?#]+")
end

-- `url` with scheme, host and port of `base`; path and query stay. Without a base, `url` itself.
function address.rebase(url, base)
  if (base or "") == "" then
    return url
  end
  return address.origin(base) .. url:sub(#address.origin(url) + 1)
end

return address

-- Cross references, captions, equation numbers and callouts, as Quarto writes them.
local gfm = FORMAT:match('gfm') or FORMAT:match('commonmark') or FORMAT:match('markdown')
local words = {fig = 'Figure', tbl = 'Table', eq = 'Equation', lst = 'Listing'}
local callouts = {note = true, tip = true, warning = true, important = true, caution = true}
local counts, refs = {}, {}
local stringify = pandoc.utils.stringify

local function kind(id)
  local k = id and id:match('^(%a+)%-')
  return words[k] and k or nil
end

local function number(id)
  local k = kind(id)
  if refs[id] then error('label used twice: ' .. id) end
  counts[k] = (counts[k] or 0) + 1
  refs[id] = {text = words[k] .. ' ' .. counts[k], number = tostring(counts[k])}
  return refs[id].text
end

-- The image's own alternative text, or else its caption.
local function set_alt(img)
  local alt = img.attributes['fig-alt'] or img.attributes['alt']
  img.attributes['fig-alt'], img.attributes['alt'], img.attributes['fig-align'] = nil, nil, nil
  if alt and alt ~= '' then img.caption = {pandoc.Str(alt)} end
  return img
end

local function caption_with(prefix, inlines)
  local res = pandoc.Inlines{pandoc.Str(prefix .. (#inlines > 0 and ': ' or ''))}
  res:extend(inlines)
  return res
end

local function figure(el)
  local img, long = nil, pandoc.utils.blocks_to_inlines(el.caption.long)
  local id = el.identifier
  el = el:walk{Image = function(i)
    if kind(i.identifier) then id, i.identifier = i.identifier, '' end
    img = set_alt(i)
    return img
  end}
  if kind(id) then long = caption_with(number(id), long) end
  if gfm then
    if not img then return nil end
    local plain = pandoc.Image(img.caption, img.src)
    local res = {pandoc.Para{plain}}
    if #long > 0 then table.insert(res, pandoc.Para{pandoc.Emph(long)}) end
    return res
  end
  el.identifier = id
  el.caption.long = #long > 0 and {pandoc.Plain(long)} or {}
  return el
end

-- A div labelled fig- or tbl-: what it holds, with its last paragraph as the caption.
local function labelled_div(el)
  local text = number(el.identifier)
  local last = el.content[#el.content]
  local is_caption = last and last.t == 'Para' and not stringify(last):match('^%s*$')
  local cap = caption_with(text, is_caption and last.content or {})
  if is_caption then el.content:remove(#el.content) end
  local tbl = kind(el.identifier) == 'tbl'
  if gfm then
    el.content = el.content:walk{Figure = figure}
    el.content:insert(tbl and 1 or #el.content + 1, pandoc.Para{pandoc.Emph(cap)})
    return el.content
  end
  el.classes:insert(tbl and 'table-float' or 'figure-float')
  el.content:insert(tbl and 1 or #el.content + 1, pandoc.Div({pandoc.Plain(cap)}, {class = 'caption'}))
  return el
end

local function callout(el, name)
  local title = el.attributes.title
  local inlines
  if title then inlines = pandoc.utils.blocks_to_inlines(pandoc.read(title, 'markdown').blocks)
  elseif el.content[1] and el.content[1].t == 'Header' then
    inlines = el.content[1].content
    el.content:remove(1)
  end
  local plain = not inlines
  inlines = inlines or pandoc.Inlines{pandoc.Str((name:gsub('^%l', string.upper)))}
  if gfm then
    local body = pandoc.Blocks{pandoc.Div({pandoc.Para{pandoc.Str((name:gsub('^%l', string.upper)))}}, {class = 'title'})}
    if not plain then body:insert(pandoc.Para{pandoc.Strong(inlines)}) end
    body:extend(el.content)
    return pandoc.Div(body, {class = name})
  end
  local body = pandoc.Blocks{pandoc.Div({pandoc.Plain(inlines)}, {class = 'callout-title'})}
  body:extend(el.content)
  return pandoc.Div(body, {class = 'callout callout-' .. name, id = el.identifier})
end

local function table_(el)
  local id = el.identifier
  if not kind(id) then return nil end
  local cap = caption_with(number(id), pandoc.utils.blocks_to_inlines(el.caption.long))
  el.caption.long = {pandoc.Plain(cap)}
  if gfm then el.identifier = '' end
  return el
end

-- `$$ ... $$ {#eq-name}`: number the equation and give it an anchor.
local function equations(inlines)
  local out, i, changed = pandoc.Inlines{}, 1, false
  while i <= #inlines do
    local el, j = inlines[i], i + 1
    if el.t == 'Math' and el.mathtype == 'DisplayMath' then
      while inlines[j] and (inlines[j].t == 'Space' or inlines[j].t == 'SoftBreak') do j = j + 1 end
      local id, rest = '', ''
      if inlines[j] and inlines[j].t == 'Str' then id, rest = inlines[j].text:match('^{#(eq%-[%w_%-]+)}(.*)$') end
      if id and id ~= '' then
        local n = number(id):match('%d+$')
        if gfm then out:insert(pandoc.Math('DisplayMath', el.text .. '\\tag{' .. n .. '}'))
        else out:insert(pandoc.Span({el, pandoc.Span({pandoc.Str('(' .. n .. ')')}, {class = 'eq-number'})}, {id = id, class = 'equation'})) end
        if rest ~= '' then out:insert(pandoc.Str(rest)) end
        i, changed = j + 1, true
        goto continue
      end
    end
    out:insert(el)
    i = i + 1
    ::continue::
  end
  return changed and out or nil
end

local function cite(el)
  local res, known = pandoc.Inlines{}, false
  for k, c in ipairs(el.citations) do
    local id = c.id:sub(1, 1):lower() .. c.id:sub(2)
    if kind(id) or id:match('^sec%-') then
      known = true
      if k > 1 then res:insert(pandoc.Str(', ')) end
      local r = refs[id]
      local text = r and (c.mode == 'SuppressAuthor' and r.number or r.text)
      if not r then res:insert(pandoc.Strong{pandoc.Str('?@' .. id)})
      elseif gfm then res:insert(pandoc.Str(text))
      else res:insert(pandoc.Link({pandoc.Str(text)}, '#' .. id, '', {class = 'xref'})) end
      res:extend(c.suffix)
    end
  end
  return known and res or nil
end

function Pandoc(doc)
  doc = doc:walk{
    traverse = 'topdown',
    Figure = function(el) return figure(el), false end,
    Table = function(el) return table_(el) end,
    Inlines = equations,
    Header = function(el)
      if el.identifier:match('^sec%-') then refs[el.identifier] = {text = stringify(el.content), number = stringify(el.content)} end
    end,
    Div = function(el)
      for _, c in ipairs(el.classes) do
        local name = c:match('^callout%-(%a+)$')
        if callouts[name] then return callout(el, name) end
      end
      if kind(el.identifier) then return labelled_div(el) end
    end,
    Image = set_alt,
  }
  return doc:walk{Cite = cite}
end

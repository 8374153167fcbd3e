-- What nbdev prints for a documented name, a signature with comments, as a page shows it: the signature in short, what it
-- does, and a table of its parameters. Quarto and the stand-in of tools/ both run this filter (_quarto.yml names it).
--
--   ```python                            halve(x, times=1)
--   def halve(                           Half of a number
--       x:float, # a number              | Parameter   | Type    | Default | Details                |
--       times:int=1, # how often         | `x`         | `float` |         | a number               |
--   )->float: # its half                 | `times`     | `int`   | `1`     | how often              |
--   ```                                  | **Returns** | `float` |         | its half               |
--   *Half of a number*
local CLOSES = {[')'] = true, [']'] = true, ['}'] = true}
local OPENS = {['('] = true, ['['] = true, ['{'] = true}
local WIDTH = 84

local function trim(s) return (s:gsub('^%s+', ''):gsub('%s+$', '')) end

-- The parts of `s` that `mark` separates outside brackets, strings and comments, as {code, comments}; stops at a bracket
-- that closes more than was opened, and returns what follows it.
local function split(s, mark)
  local parts, depth, quote = {{code = '', doc = ''}}, 0, nil
  local current, i = parts[1], 1
  while i <= #s do
    local c = s:sub(i, i)
    if quote then
      if c == '\\' then c, i = s:sub(i, i + 1), i + 1 elseif c == quote then quote = nil end
    elseif c == "'" or c == '"' then quote = c
    elseif OPENS[c] then depth = depth + 1
    elseif CLOSES[c] then
      depth = depth - 1
      if depth < 0 then return parts, s:sub(i + 1) end
    elseif c == '#' then
      local comment = s:match('^#([^\n]*)', i)
      local last = trim(current.code) == '' and #parts > 1 and parts[#parts - 1] or current
      last.doc = trim(last.doc .. ' ' .. trim(comment))
      i, c = i + #comment, ''
    end
    if c == mark and depth == 0 and not quote then
      current = {code = '', doc = ''}
      table.insert(parts, current)
    else current.code = current.code .. c end
    i = i + 1
  end
  return parts, ''
end

-- A parameter `name:type=default` in its pieces.
local function parameter(part)
  local sides = split(part.code, '=')
  local head = split(sides[1].code, ':')
  local default = sides[2] and {}
  for k = 2, #sides do table.insert(default, sides[k].code) end
  local kind = head[2] and trim(head[2].code)
  return {name = trim(head[1].code), kind = kind ~= 'NoneType' and kind or nil,
          default = default and trim(table.concat(default, '=')), doc = part.doc}
end

-- Words as Markdown has them, with code and links to names but nothing else that could be meant as text.
local function inlines(s)
  local res = pandoc.Inlines{}
  while s ~= '' do
    local i, j, name, url = s:find('%[`([^`]+)`%]%(([^)%s]+)%)')
    local a, b, code = s:find('`([^`]+)`')
    if a and not (i and i < a) then i, j, name, url = a, b, code, nil end
    res:extend(pandoc.Inlines(i and s:sub(1, i - 1) or s))
    if not i then break end
    res:insert(url and pandoc.Link({pandoc.Code(name)}, url) or pandoc.Code(name))
    s = s:sub(j + 1)
  end
  return res
end

local function code(s) return s and s ~= '' and {pandoc.Plain{pandoc.Code(s)}} or {} end

local function row(first, kind, default, doc)
  local cells = {{pandoc.Plain(first)}, code(kind), code(default), {pandoc.Plain(inlines(doc))}}
  local made = {}
  for _, o in ipairs(cells) do table.insert(made, pandoc.Cell(o)) end
  return pandoc.Row(made)
end

local function parameters(found, back, doc)
  local rows = {}
  for _, o in ipairs(found) do table.insert(rows, row({pandoc.Code(o.name)}, o.kind, o.default, o.doc)) end
  if back then table.insert(rows, row({pandoc.Strong 'Returns'}, back, nil, doc)) end
  local head = {}
  for _, o in ipairs{'Parameter', 'Type', 'Default', 'Details'} do
    table.insert(head, pandoc.Cell{pandoc.Plain(o)})
  end
  local columns = {}
  for k = 1, 4 do columns[k] = {pandoc.AlignDefault, nil} end
  local body = {attr = pandoc.Attr(), body = rows, head = {}, row_head_columns = 0}
  return pandoc.Table({long = {}, short = nil}, columns, pandoc.TableHead{pandoc.Row(head)}, {body},
                      pandoc.TableFoot(), pandoc.Attr('', {'parameters'}))
end

-- The signature on as few lines as its width allows.
local function signature(name, found, back, documented)
  local shown = {}
  for _, o in ipairs(found) do
    local kind = o.kind and not documented and ': ' .. o.kind or ''
    local equals = kind ~= '' and ' = ' or '='
    table.insert(shown, o.name .. kind .. (o.default and equals .. o.default or ''))
  end
  local close = ')' .. (back and ' -> ' .. back or '')
  local flat = name .. '(' .. table.concat(shown, ', ') .. close
  if #flat <= WIDTH then return flat end
  local lines, line = {}, '   '
  for k, o in ipairs(shown) do
    local piece = ' ' .. o .. (k < #shown and ',' or '')
    if #line + #piece > WIDTH and line ~= '   ' then
      table.insert(lines, line)
      line = '   '
    end
    line = line .. piece
  end
  table.insert(lines, line)
  return name .. '(\n' .. table.concat(lines, '\n') .. '\n' .. close
end

-- The blocks for the printed signature `text`, with what is said about it in between. What is a `property` is read, not
-- called: it is shown as a name with its type.
local function entry(text, said, property)
  local name, rest = text:match('^def ([%w_.]+)%((.*)$')
  local parts, tail = split(rest, ',')
  local found, documented = {}, false
  for _, o in ipairs(parts) do
    if trim(o.code) ~= '' then table.insert(found, parameter(o)) end
    documented = documented or o.doc ~= ''
  end
  local back, doc = tail:match('^%->(.-):%s*#%s*(.*)$')
  if not back then back, doc = tail:match('^%->(.-):%s*$'), '' end
  if not back then doc = trim(tail:match('#(.*)$') or '') end
  if back == 'None' then back = nil end
  local shown = property and name .. (back and ': ' .. back or '') or signature(name, found, back, documented)
  local res = pandoc.Blocks{pandoc.CodeBlock(shown, {class = 'python signature'})}
  res:extend(said)
  if documented then res:insert(parameters(found, (back or doc ~= '') and (back or '') or nil, doc))
  elseif doc ~= '' then
    local line = pandoc.Inlines{pandoc.Strong(property and 'Attribute' or 'Returns'), pandoc.Str ': '}
    line:extend(inlines(doc))
    res:insert(pandoc.Para(line))
  end
  return res
end

-- What a paragraph in italics says, upright.
local function upright(block)
  local only = block and block.t == 'Para' and #block.content == 1 and block.content[1]
  return only and only.t == 'Emph' and pandoc.Para(only.content) or nil
end

-- Whether a link leads to the line below `@property` in a file of the repository, above whose folder this filter lies.
local function to_property(target)
  local file, number = target:match '/blob/[^/]+/(.-%.py)#L(%d+)$'
  local source = file and io.open(pandoc.path.join{pandoc.path.directory(PANDOC_SCRIPT_FILE), '..', file})
  if not source then return false end
  local before
  for _ = 2, tonumber(number) do before = source:read 'l' end
  source:close()
  return before ~= nil and before:match '^%s*@[%w_]*property' ~= nil
end

-- Whether `block` is the line with the link to the source of a property.
local function of_property(block)
  local found = false
  if block.t == 'Para' then block:walk{Link = function(o) found = found or to_property(o.target) end} end
  return found
end

function Blocks(blocks)
  local res, i, under, property = pandoc.Blocks{}, 1, false, false
  while i <= #blocks do
    local o = blocks[i]
    local printed = under and o.t == 'CodeBlock' and o.classes:includes 'python' and o.text:match '^def [%w_.]+%('
    if printed then
      local said = upright(blocks[i + 1])
      res:extend(entry(o.text, said and {said} or {}, property))
      if said then i = i + 1 end
      property = false
    else
      property = of_property(o) or property and o.t == 'Header'
      res:insert(o)
    end
    under = o.t == 'Header'
    i = i + 1
  end
  return res
end

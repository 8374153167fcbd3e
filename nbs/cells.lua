-- Cells and tables of a page. Quarto and the stand-in of tools/ both run this filter (_quarto.yml names it).
--
-- A cell that only checks (it shows nothing, and its last statement is an assertion) is folded, and one click opens it:
-- demonstrations stay in sight. Columns of a table are as wide as what they hold, and a cell of a few words, such as a number
-- with its interval, stays on one line.
local readme = FORMAT:match 'gfm' or FORMAT:match 'commonmark' or FORMAT:match 'markdown'

-- Whether the last statement of `code` asserts; a loop or a `with` does when its last line does.
local function checks(code)
  local last, inside
  for line in (code .. '\n'):gmatch '(.-)\n' do
    if line:match '^[%w_@(%[]' then last, inside = line, line
    elseif line:match '^%s+%S' then inside = line end
  end
  if not last or last:match '^def ' or last:match '^class ' then return false end
  if not (last:match '^for .*:%s*$' or last:match '^with .*:%s*$' or last:match '^if .*:%s*$') then inside = last end
  for _, text in ipairs{last, inside} do
    text = text:gsub('^%s*', ''):gsub('^for .-: ', ''):gsub('^with .-: ', ''):gsub('^if .-: ', '')
    if text:match '^assert[ (]' or text:match '^test_%w+%(' or text:match '^torch%.testing%.assert' then return true end
  end
  return false
end

local function raw(html) return pandoc.RawBlock('html', html) end

function Div(div)
  if readme or not div.classes:includes 'cell' then return nil end
  local only = div.content[1]
  if #div.content ~= 1 or only.t ~= 'CodeBlock' or not checks(only.text) then return nil end
  local _, breaks = only.text:gsub('\n', '')
  local size = breaks == 0 and '1 line' or (breaks + 1) .. ' lines'
  return {raw('<details class="checks"><summary>Check, ' .. size .. '</summary>'), div, raw '</details>'}
end

local function is_short(cell) return utf8.len(pandoc.utils.stringify(cell.contents)) <= 22 end

function Table(tbl)
  if readme then return nil end
  tbl.colspecs = tbl.colspecs:map(function(o) return {o[1], nil} end)
  for _, body in ipairs(tbl.bodies) do
    for _, row in ipairs(body.body) do
      for _, cell in ipairs(row.cells) do
        if is_short(cell) then cell.classes:insert('short') end
      end
    end
  end
  return tbl
end

-- At its end a page says which notebook it is: what runs there is more than what is shown here.
local function notebook(meta)
  if meta.notebook then return pandoc.utils.stringify(meta.notebook) end
  if not quarto then return nil end
  return pandoc.path.make_relative(quarto.doc.input_file, quarto.project.directory)
end

function Pandoc(doc)
  local name = notebook(doc.meta)
  if readme or not name or not name:match '%.ipynb$' then return nil end
  local words = pandoc.Inlines 'This page is the notebook '
  words:insert(pandoc.Code('nbs/' .. name))
  words:extend(pandoc.Inlines '. Cells that only prepare or test are not shown here; there everything runs.')
  doc.blocks:extend{raw '<footer class="origin">', pandoc.Para(words), raw '</footer>'}
  return doc
end

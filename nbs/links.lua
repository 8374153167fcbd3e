-- What becomes of the links that nbdev makes while settings.ini holds no address. Quarto and the stand-in of tools/ both
-- run this filter (_quarto.yml names it).
--
--   [source](/blob/main/beckman_nb/...)          goes: there is no repository to point at
--   [`difference`](/program/grid.html#...)       on the site stays, a leading slash being the site's root;
--                                                in README.md it becomes nbs/program/00_grid.ipynb, or plain code
--   [the grid](program/00_grid.ipynb)            in README.md becomes nbs/program/00_grid.ipynb
--   [[`pgd`](/a.html#pgd)](train/00_a.ipynb)     nbdev's link inside one written by hand: the outer one stays
--   [`params`](https://docs.fast.ai/...)         goes: a plain word is an argument of ours more often than fastai's name
local stringify = pandoc.utils.stringify
local readme = FORMAT:match('gfm') or FORMAT:match('commonmark') or FORMAT:match('markdown')

-- The notebook that the page `folder/name.html` is made from: nbdev drops the number in front and writes it in lower case.
local function notebook(page)
  local folder, name = page:match('^(.*/)([^/]+)%.html$')
  if not folder then folder, name = '', page:match('^([^/]+)%.html$') end
  if not name then return nil end
  local found, files = pcall(pandoc.system.list_directory, folder == '' and '.' or folder)
  if not found then return nil end
  for _, file in ipairs(files) do
    local stem = file:match('^(.+)%.ipynb$')
    if stem and stem:lower():gsub('^%d+%w*_', '') == name then return folder .. file end
  end
end

-- The words of a link without the Markdown of another one around a name.
local function without_inner(words)
  local text = {}
  for k, o in ipairs(words) do
    local after, before = words[k + 1], words[k - 1]
    if o.t == 'Str' and after and after.t == 'Code' then o.text = o.text:gsub('%[$', '') end
    if o.t == 'Str' and before and before.t == 'Code' then o.text = o.text:gsub('^%]%([^)]*%)', '') end
    if o.t ~= 'Str' or o.text ~= '' then table.insert(text, o) end
  end
  return pandoc.Inlines(text)
end

function Link(link)
  if stringify(link.content):match '%]%(/' then link.content = without_inner(link.content) end
  if link.target:match('^/blob/') then return {} end
  if link.target:match('^https:..docs%.fast%.ai/') and not stringify(link.content):match('%u') then return link.content end
  if not readme then return link end
  local page = link.target:match('^/([^#]*)')
  if page then
    local file = notebook(page)
    if not file then return link.content end
    link.target = 'nbs/' .. file
  elseif link.target:match('^[^:#]+%.ipynb') then
    link.target = 'nbs/' .. link.target
  end
  return link
end

-- The paragraph that held nothing but the link to the source.
function Para(para)
  if #para.content == 0 then return {} end
end

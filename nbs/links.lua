-- What becomes of the links that nbdev makes while settings.ini holds no address. Quarto and the stand-in of tools/ both
-- run this filter (_quarto.yml names it).
--
--   [source](/blob/main/beckman_nb/...)          goes: there is no repository to point at
--   [`difference`](/program/grid.html#...)       on the site stays, a leading slash being the site's root;
--                                                in README.md it becomes nbs/program/00_grid.ipynb, or plain code
--   [the grid](program/00_grid.ipynb)            in README.md becomes nbs/program/00_grid.ipynb
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

function Link(link)
  if link.target:match('^/blob/') then return {} end
  if not readme then return nil end
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
